"""The state of a run, from its journal alone: live, finished or crashed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dotrain.core.trial import Trial, TrialState
from dotrain.report.reading import read_run, run_notes
from dotrain.report.result import print_lines
from dotrain.report.resuming import resume_command
from dotrain.report.summary import LastReport, ahead_text, summarize
from dotrain.report.text import duration, number_text, printable
from dotrain.store import needs_newer, written_by


def read_status(path: Path) -> dict[str, Any]:
    """Return what is running, waiting (and why), finished and failed; never locks.

    Raises:
        UsageError: If `path` is no run directory.
        JournalError: If its journal is damaged or newer than this dotrain.
    """
    run = read_run(path)
    state, holder, alive = run.state, run.holder, run.alive
    finished = state.status == "finished"
    needs_more = needs_newer(written_by(run.records))
    summary = summarize(run.header, state.book, run.status, state.time_s, run.run_dir.path)
    if "study" in run.header:
        # The arm with the best run tells nothing; how far the study is, does.
        del summary["best"]
        done = Counter(t.arm.name for t in run.trials if t.arm and t.final_metric is not None)
        summary["arms"] = {arm["name"]: done[arm["name"]] for arm in run.header["study"]["arms"]}
    return {
        **summary,
        "reason": run.reason,
        "driver": str(holder) if holder and alive is not False else None,
        "slots": state.slots if alive is not False else 0,
        "passed_over": dict(state.passed_over),
        "notes": run_notes(run),
        "running": [_running(t, state.time_s) for t in state.book.active.values()],
        "waiting": [
            {"trial_id": t.trial_id, "why": t.story[-1].what}
            for t in run.trials
            if t.state is TrialState.WAITING
        ],
        "resume": None if finished or alive or needs_more else resume_command(path, run.header),
    }


def _running(trial: Trial, now_s: float) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "state": str(trial.state),
        "attempt": trial.attempt,
        "worker": trial.worker,
        "step": trial.last_step,
        "value": trial.metric_history[-1] if trial.metric_history else None,
        "running_for_s": None if trial.started_s is None else round(now_s - trial.started_s, 3),
    }


def print_status(status: Mapping[str, Any]) -> None:
    """Print what `read_status` returned to stdout."""
    print_lines([printable(line) for line in _lines(status)])


def _lines(status: Mapping[str, Any]) -> Iterator[str]:
    yield f"{status['name']}: {status['status']} ({status['reason']})"
    counts = ", ".join(f"{n} {what}" for what, n in status["trials"].items())
    yield f"trials: {counts}; {status['steps']} steps, {duration(status['elapsed_s'])}"
    yield from status["notes"]
    if "arms" in status:
        yield "seeds done: " + ", ".join(f"{arm} {n}" for arm, n in status["arms"].items())
    else:
        yield from _best(status)
    verb = "running" if status["status"] == "running" else "was running"
    for trial in status["running"]:
        step = "no report yet" if trial["step"] is None else f"step {trial['step']}"
        value = "" if trial["value"] is None else f", {number_text(trial['value'])}"
        yield f"{verb}: {trial['trial_id']} on {trial['worker'] or '?'}, {step}{value}"
    for trial in status["waiting"]:
        yield f"waiting: {trial['trial_id']}: {trial['why']}"
    for group in status.get("failures", ()):
        yield f"failed: {group['count']} x {group['message']} ({group['log']})"
    if status["resume"]:
        yield f"go on with: {status['resume']}"


def _best(status: Mapping[str, Any]) -> Iterator[str]:
    best = status["best"]
    last = [
        LastReport(trial["trial_id"], trial["step"], trial["value"])
        for trial in status["running"]
        if trial["value"] is not None
    ]
    ahead = ahead_text(last, best and best["value"], status["direction"])
    ended = f"{status['metric']} {number_text(best['value'])} ({best['trial_id']})" if best else ""
    if ended or ahead:
        yield f"best: {'; '.join(filter(None, (ended, ahead)))}"
