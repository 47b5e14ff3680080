"""A run as its journal tells it: live, finished or crashed. What every report starts from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dotrain.core.book import TrialBook
from dotrain.core.trial import Trial
from dotrain.errors import UsageError
from dotrain.report.ablation import summarize_study
from dotrain.report.marks import mark_lines, marks_in, marks_text
from dotrain.report.summary import summarize
from dotrain.space import Categorical, Discrete, Domain, SpaceError, as_domain
from dotrain.store import Holder, Record, RunDir, RunState, read_holder, read_journal, replay


@dataclass(frozen=True)
class Run:
    """What can be known of a run without its process.

    Attributes:
        run_dir: Its directory.
        records: The journal, header included.
        state: What the records add up to.
        status: ``running``, ``crashed``, or how it ended: ``finished``, ``time_limit``, ``failed``,
            ``interrupted``.
        reason: Why, for people.
        holder: Who drives it, or drove it until a crash; None if nobody does.
        alive: Whether the holder lives; None if that can't be told from here.
    """

    run_dir: RunDir
    records: list[Record]
    state: RunState
    status: str
    reason: str
    holder: Holder | None
    alive: bool | None

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What ``result.json`` holds at the end, but for gates; a study's takes a second."""
        state = self.state
        return summarize_run(state.header, state.book, self.status, state.time_s, self.run_dir.path)

    @property
    def header(self) -> Record:
        """Record 0: name, metric, direction, seed, config."""
        return self.state.header

    @property
    def trials(self) -> list[Trial]:
        """All trials, in the order of sampling."""
        return list(self.state.book.trials.values())


def read_run(path: Path) -> Run:
    """Read a run directory; never locks, never writes.

    Raises:
        UsageError: If `path` is no run directory, or of a run that never began.
        JournalError: If its journal is damaged or newer than this dotrain.
    """
    run_dir = RunDir.open(path)
    records = list(read_journal(run_dir.journal))
    if not records:
        raise UsageError(f"{path}: the run never began; its journal is empty")
    state = replay(records)
    holder = read_holder(run_dir.lock)
    alive = holder.is_alive() if holder else False
    status, reason = _status(state, alive, str(holder) if holder else "")
    return Run(run_dir, records, state, status, reason, holder, alive)


def summarize_run(
    header: Mapping[str, Any], book: TrialBook, status: str, elapsed_s: float, run_dir: Path
) -> dict[str, Any]:
    """Return the result of a search, a single run or an ablation, as ``result.json`` holds it.

    Args:
        header: The journal's header.
        book: All trials.
        status: How the run ended.
        elapsed_s: How long it took, in seconds.
        run_dir: The run directory.
    """
    make = summarize_study if "study" in header else summarize
    return make(header, book, status, elapsed_s, run_dir)


def run_notes(run: Run) -> list[str]:
    """Return what must be known of a run and its values, a line each."""
    lines = mark_lines({**marks_in(run.header, run.trials), "trials": {"total": len(run.trials)}})
    passed_over = run.state.passed_over
    total = passed_over.total()
    if total:
        what = "1 record of a type" if total == 1 else f"{total} records of types"
        names = ", ".join(passed_over)
        lines.append(f"passed over: {what} that this version doesn't know ({names})")
    return lines


def domains_of(header: Mapping[str, Any]) -> dict[str, Domain]:
    """Return what the trials' hyperparameters may be, by name, as far as the journal says.

    Args:
        header: The journal's header.
    """
    study = header.get("study")
    if study:
        arms = tuple(arm["name"] for arm in study["arms"])
        return {
            "arm": Categorical(values=arms),
            "seed": Discrete(values=tuple(range(len(study["seeds"])))),
        }
    search = header.get("config", {}).get("search") or {}
    try:
        # A condition that is refused by now makes no difference to what a value may be.
        return {name: as_domain(spec) for name, spec in (search.get("space") or {}).items()}
    except (SpaceError, TypeError):
        return {}


def trial_rows(trials: Iterable[Trial], metric: str) -> list[dict[str, Any]]:
    """Return a flat row for each trial, all with the same columns, hyperparameters by their names.

    A hyperparameter, a metric or a column that shares a name with one before it keeps a prefix:
    ``param.state``, ``metric.seconds``.
    """
    trials = list(trials)
    params = list(dict.fromkeys(name for trial in trials for name in trial.varied))
    others = list(dict.fromkeys(name for trial in trials for name in trial.metrics or ()))
    rows = []
    for trial in trials:
        row: dict[str, Any] = {
            "trial": trial.trial_id,
            "state": str(trial.state),
            metric: trial.final_metric,
            "steps": trial.steps_run,
            "budget": trial.budget,
            "attempts": trial.attempt,
            "seconds": round(trial.busy_s, 3),
        }
        fixed = {*row, "marks", "error"}
        columns = {name: f"param.{name}" if name in fixed else name for name in params}
        row.update({column: trial.varied.get(name) for name, column in columns.items()})
        taken = {*row, "marks", "error"}
        for name in others:
            if name != metric:
                column = f"metric.{name}" if name in taken else name
                row[column] = (trial.metrics or {}).get(name)
        row["marks"] = marks_text(trial)
        row["error"] = trial.error.message if trial.error else None
        rows.append(row)
    return rows


def _status(state: RunState, alive: bool | None, holder: str) -> tuple[str, str]:
    if state.status is not None:
        return state.status, state.reason
    if alive is None:
        return "running", f"driven by {holder}, which can't be asked from here"
    if alive:
        return "running", f"driven by {holder}"
    return "crashed", "its driver is gone and the journal doesn't say that the run has ended"
