"""The state of a run, from its journal alone: live, finished or crashed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

from dotrain.core.instructions import RunStatus
from dotrain.core.trial import Trial, TrialState
from dotrain.report.reading import Run, read_run, run_notes
from dotrain.report.result import print_lines
from dotrain.report.text import duration
from dotrain.results import FrontResult, RunResult, SearchResult, StudyResult
from dotrain.results.hosts import host_lines
from dotrain.results.resuming import resume_command
from dotrain.results.search import ahead_text
from dotrain.results.text import count_text, number_text, printable
from dotrain.store import needs_newer, written_by


@dataclass(frozen=True)
class Status:
    """How a run stands, and what goes on with it, if anything does."""

    run: Run
    resume: str | None

    def to_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        run, state = self.run, self.run.state
        return {
            **run.result.so_far(),
            "reason": run.reason,
            "driver": str(run.holder) if run.holder and run.alive is not False else None,
            "slots": state.slots if run.alive is not False else 0,
            "passed_over": dict(state.passed_over),
            "notes": run_notes(run),
            "running": [_running(trial, state.time_s) for trial in state.book.active.values()],
            "waiting": [{"trial_id": t.trial_id, "why": t.story[-1].what} for t in _waiting(run)],
            "resume": self.resume,
        }


def read_status(path: Path) -> Status:
    """Read how a run stands; never locks.

    Raises:
        UsageError: If `path` is no run directory.
        JournalError: If its journal is damaged or newer than this dotrain.
    """
    run = read_run(path)
    goes_on = not run.alive and not needs_newer(written_by(run.records))
    finished = run.status is RunStatus.FINISHED
    return Status(run, resume_command(path, run.header) if goes_on and not finished else None)


def _waiting(run: Run) -> list[Trial]:
    return [trial for trial in run.trials if trial.state is TrialState.WAITING]


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


def print_status(status: Status) -> None:
    """Print it to stdout, for people."""
    print_lines([printable(line) for line in _lines(status)])


def _lines(status: Status) -> Iterator[str]:
    run, result, running = status.run, status.run.result, status.run.state.book.active.values()
    yield f"{result.name}: {run.status} ({run.reason})"
    counts = ", ".join(f"{n} {what}" for what, n in result.counts.to_json().items())
    yield f"trials: {counts}; {result.steps} steps, {duration(result.elapsed_s)}"
    yield from run_notes(run)
    yield from _so_far(result, running)
    verb = "running" if run.status is RunStatus.RUNNING else "was running"
    for trial in running:
        step = "no report yet" if trial.last_step is None else f"step {trial.last_step}"
        value = f", {number_text(trial.metric_history[-1])}" if trial.metric_history else ""
        yield f"{verb}: {trial.trial_id} on {trial.worker or '?'}, {step}{value}"
    for trial in _waiting(run):
        yield f"waiting: {trial.trial_id}: {trial.story[-1].what}"
    for group in (*result.failures, *result.tried_elsewhere):
        where = f", {group.where_text}" if group.where_text else ""
        what = "failed" if group.size else "failed and tried elsewhere"
        count = group.size or group.attempts
        yield f"{what}: {count} x {group.error.message}{where} ({group.log})"
    yield from host_lines(result.hosts)
    if status.resume:
        yield f"go on with: {status.resume}"


@singledispatch
def _so_far(result: RunResult, running: Iterable[Trial]) -> Iterator[str]:
    """Yield what has been found so far."""
    raise NotImplementedError


@_so_far.register
def _best(result: SearchResult, running: Iterable[Trial]) -> Iterator[str]:
    best = result.best
    parts = (
        [f"{result.metric} {number_text(best.final_metric or 0.0)} ({best.trial_id})"]
        if best
        else []
    )
    ahead = ahead_text(running, best and best.final_metric, result.direction)
    parts += [ahead] if ahead else []
    if parts:
        yield f"best: {'; '.join(parts)}"


@_so_far.register
def _front(result: FrontResult, running: Iterable[Trial]) -> Iterator[str]:
    if result.front:
        yield f"front: {count_text(len(result.front), 'trial')}, {result.ranges_text}"


@_so_far.register
def _seeds_done(result: StudyResult, running: Iterable[Trial]) -> Iterator[str]:
    yield "seeds done: " + ", ".join(f"{arm} {n}" for arm, n in result.seeds_done.items())
