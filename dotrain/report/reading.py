"""A run as its journal tells it: live, finished or crashed. What every report starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dotrain.core.instructions import RunStatus
from dotrain.core.trial import Trial
from dotrain.errors import UsageError
from dotrain.report.spaces import space_lines
from dotrain.results import RunResult, result_of
from dotrain.store import Holder, Record, RunDir, RunState, read_holder, read_journal, replay


@dataclass(frozen=True)
class Run:
    """What can be known of a run without its process.

    Attributes:
        run_dir: Its directory.
        records: The journal, header included.
        state: What the records add up to.
        status: How it stands, or has ended.
        reason: Why, for people.
        holder: Who drives it, or drove it until a crash; None if nobody does.
        alive: Whether the holder lives; None if that can't be told from here.
    """

    run_dir: RunDir
    records: list[Record]
    state: RunState
    status: RunStatus
    reason: str
    holder: Holder | None
    alive: bool | None

    @cached_property
    def result(self) -> RunResult:
        """What it has come to, as far as it has got."""
        state = self.state
        return result_of(
            *(self.header, state.book.trials.values(), self.status, state.time_s),
            self.run_dir.path,
            ended_early=state.ended_early,
        )

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


def run_notes(run: Run) -> list[str]:
    """Return what must be known of a run and its values, a line each."""
    lines = [*run.result.caveats.lines, *run.result.checkpoints.lines]
    lines += space_lines(run.header, run.records)
    if chosen := run.header.get("chosen"):
        lines.append(f"search.optimizer was chosen by auto, since {chosen['why']}")
    passed_over = run.state.passed_over
    total = passed_over.total()
    if total:
        what = "1 record of a type" if total == 1 else f"{total} records of types"
        names = ", ".join(passed_over)
        lines.append(f"passed over: {what} that this version doesn't know ({names})")
    return lines


def _status(state: RunState, alive: bool | None, holder: str) -> tuple[RunStatus, str]:
    if state.status is not None:
        return state.status, state.reason
    if alive is None:
        return RunStatus.RUNNING, f"driven by {holder}, which can't be asked from here"
    if alive:
        return RunStatus.RUNNING, f"driven by {holder}"
    return (
        RunStatus.CRASHED,
        "its driver is gone and the journal doesn't say that the run has ended",
    )
