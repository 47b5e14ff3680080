"""The state of a run, from its journal alone: live, finished or crashed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from dotrain.core.trial import Trial, TrialState
from dotrain.report.progress import duration
from dotrain.report.summary import summarize
from dotrain.store import RunDir, RunState, read_holder, read_journal, replay


def read_status(path: Path) -> dict[str, Any]:
    """Return what is running, waiting (and why), finished and failed; never locks.

    Raises:
        UsageError: If `path` is no run directory.
        JournalError: If its journal is damaged or newer than this dotrain.
    """
    run_dir = RunDir.open(path)
    state = replay(read_journal(run_dir.journal))
    holder = read_holder(run_dir.lock)
    alive = holder.is_alive() if holder else False
    status, reason = _status(state, alive, str(holder) if holder else "")
    summary = summarize(state.header, state.book, status, state.time_s, run_dir.path)
    trials = state.book.trials.values()
    finished = state.status == "finished"
    return {
        **summary,
        "reason": reason,
        "driver": str(holder) if holder and alive is not False else None,
        "slots": state.slots if alive is not False else 0,
        "running": [_running(t, state.time_s) for t in state.book.active.values()],
        "waiting": [
            {"trial_id": t.trial_id, "why": t.story[-1].what}
            for t in trials
            if t.state is TrialState.WAITING
        ],
        "resume": None if finished or alive else f"dotrain resume {shlex.quote(str(path))}",
    }


def _status(state: RunState, alive: bool | None, holder: str) -> tuple[str, str]:
    if state.status is not None:
        return state.status, state.reason
    if alive is None:
        return "running", f"driven by {holder}, which can't be asked from here"
    if alive:
        return "running", f"driven by {holder}"
    return "crashed", "its driver is gone and the journal doesn't say that the run has ended"


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
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"{status['name']}: {status['status']} ({status['reason']})")
    counts = ", ".join(f"{n} {what}" for what, n in status["trials"].items())
    console.print(f"trials: {counts}; {status['steps']} steps, {duration(status['elapsed_s'])}")
    if status["best"]:
        best = status["best"]
        console.print(f"best: {status['metric']} {best['value']:.6g} ({best['trial_id']})")
    verb = "running" if status["status"] == "running" else "was running"
    for trial in status["running"]:
        step = "no report yet" if trial["step"] is None else f"step {trial['step']}"
        value = "" if trial["value"] is None else f", {trial['value']:.6g}"
        console.print(f"{verb}: {trial['trial_id']} on {trial['worker'] or '?'}, {step}{value}")
    for trial in status["waiting"]:
        console.print(f"waiting: {trial['trial_id']}: {trial['why']}")
    for group in status.get("failures", ()):
        console.print(f"failed: {group['count']} x {group['message']} ({group['log']})")
    if status["resume"]:
        console.print(f"go on with: {status['resume']}")
