"""TensorBoard: every trial's scalars, and the table of trials for its HParams plugin.

``tensorboard --logdir RUN_DIR`` shows a run for each trial: the values it reported under the
metric's name, what counts in the end under ``result/``, and other numbers beside them. What the
table consists of stands in the run directory itself.

Everything is made from the journal: a driver writes what is there when it begins, old files
replaced, and follows the run from there on. `write_all` does the same for a run that is over.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dotrain.core.book import TrialBook
from dotrain.core.events import Event, Finished, Reported, Resumed, TrialEvent
from dotrain.core.instructions import Instruction
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import StoryLine, Trial, TrialState
from dotrain.errors import DotrainError, UsageError
from dotrain.report.reading import Run, domains_of
from dotrain.store import Record, RunDir, read_journal, replay_each
from dotrain.training.failure import plain_text

if TYPE_CHECKING:
    from dotrain.report.event_files import Column

#: How TensorBoard knows event files, and how we know ours.
_FILES = "events.out.tfevents.*.dotrain"

#: The tag of what counts in the end; one of its own, since a train function may return another
#: number than it reported last.
_RESULT = "result/"

#: TensorBoard's table counts steps in 32 bits.
_LAST_STEP = 2**31 - 1

#: The shortest time between two rounds of writing, in seconds; what happens meanwhile goes together.
_ROUND_S = 1.0

#: The driver is held up no longer than this at once, and for no more than this share of its time.
_SLICE_S = 0.002
_SHARE = 0.01

#: If more than so many records wait, it may be a larger share.
_MAX_WAITING = 50_000


class Start(NamedTuple):
    """A trial begins."""

    time_s: float
    trial_id: str
    params: Mapping[str, Any]


class Scalars(NamedTuple):
    """Numbers by tag."""

    time_s: float
    step: int
    values: Mapping[str, float]


class Restart(NamedTuple):
    """What was told of this step and those after it is void."""

    time_s: float
    step: int


class End(NamedTuple):
    """A trial has come to its end."""

    time_s: float
    failed: bool


Item = Start | Scalars | Restart | End


@dataclass(slots=True)
class _Told:
    """What has been told of a trial.

    Attributes:
        reports: How many of its reports.
        lines: How many lines of its story.
        step: The last step.
        result: Its last result.
        has_begun: Whether its beginning.
        is_over: Whether its end.
    """

    reports: int = 0
    lines: int = 0
    step: int = -1
    result: Scalars | None = None
    has_begun: bool = False
    is_over: bool = False


class Follower:
    """Says what is new of a run's trials; pure.

    Attributes:
        metrics: The tags of numbers in the table, with their names, in order.
        params: All hyperparameters that were seen, with their first value.
        has_values: Whether a trial has reported or returned something.
    """

    def __init__(self, header: Record) -> None:
        """Begin to follow a run from its header on."""
        self._metric = plain_text(header["metric"])
        # What is not searched is all that a single run has to tell.
        self._fixed: Mapping[str, Any] = header.get("config", {}).get("hparams") or {}
        self._told: dict[str, _Told] = {}
        self._result = _RESULT + self._metric
        self.metrics: dict[str, str] = {self._result: self._metric}
        self.params: dict[str, Any] = {}
        self.has_values = False

    def news(
        self, trial: Trial, time_s: float, metrics: Mapping[str, float] | None = None
    ) -> Iterator[Item]:
        """Yield what is new of a trial since it was last looked at.

        Args:
            trial: As it is now.
            time_s: When it became so.
            metrics: The other numbers that were reported or returned with it.
        """
        told = self._told.get(trial.trial_id)
        if told is None:
            told = self._told[trial.trial_id] = _Told()
        if trial.steps_run > told.reports:
            told.reports = trial.steps_run
            step, value = trial.step_history[-1], trial.metric_history[-1]
            if step <= told.step:
                yield from self._back_to(told, step, time_s)
            told.step = step
            yield self._scalars(time_s, step, self._metric, value, metrics)
        while told.lines < len(trial.story):
            line = trial.story[told.lines]
            yield from self._line(trial, told, line, metrics)
            told.lines += 1

    def _line(
        self, trial: Trial, told: _Told, line: StoryLine, metrics: Mapping[str, float] | None
    ) -> Iterator[Item]:
        state, time_s = line.state, line.time_s
        if not told.has_begun and (state is TrialState.RUNNING or state.ended):
            told.has_begun = True
            params = trial.params or self._fixed
            for name, value in params.items():
                self.params.setdefault(name, value)
            yield Start(time_s, trial.trial_id, params)
        if state is TrialState.RUNNING:
            if trial.resume_step <= told.step:
                yield from self._back_to(told, trial.resume_step, time_s)
        elif state is TrialState.FINISHED:
            budget, value = trial.results[-1]
            step = round(budget or 0) if trial.last_step is None else trial.last_step
            told.result = self._scalars(time_s, step, self._result, value, metrics)
            yield told.result
            if budget is None:
                yield from self._success(told)
        elif state is TrialState.STOPPED and trial.final_metric is not None:
            step, value = trial.last_step or 0, trial.final_metric
            told.result = self._scalars(time_s, step, self._result, value, None)
            yield told.result
            yield from self._success(told)
        elif state is TrialState.FAILED:
            told.is_over = True
            yield End(time_s, failed=True)

    def _scalars(
        self,
        time_s: float,
        step: int,
        tag: str,
        value: float,
        others: Mapping[str, float] | None,
    ) -> Scalars:
        self.has_values = True
        values = {tag: value}
        if others:
            for name, other in others.items():
                values.setdefault(name, other)
                self.metrics.setdefault(name, name)
        return Scalars(time_s, min(step, _LAST_STEP), values)

    def _back_to(self, told: _Told, step: int, time_s: float) -> Iterator[Item]:
        """Take back what an earlier attempt told of steps that are now trained once more."""
        told.step = step - 1
        yield Restart(time_s, min(step, _LAST_STEP))
        if told.result is not None and told.result.step >= step:
            yield told.result

    def _success(self, told: _Told) -> Iterator[Item]:
        if told.result is not None and not told.is_over:
            told.is_over = True
            yield End(told.result.time_s, failed=False)

    def ends(self) -> Iterator[tuple[str, Item]]:
        """Yield the ends of trials that could have been promoted until the run was over."""
        for trial_id, told in self._told.items():
            for item in self._success(told):
                yield trial_id, item

    @property
    def open(self) -> list[str]:
        """Ids of the trials that may still change."""
        return [trial_id for trial_id, told in self._told.items() if not told.is_over]


class Files:
    """The event files of one run; those of an earlier driver go.

    A file is open only while something is appended to it, so that there may be any number.
    """

    def __init__(self, run_dir: RunDir, header: Record) -> None:
        """Get ready to write.

        Raises:
            ImportError: If TensorBoard can't be imported.
            OSError: If the old files can't be removed.
        """
        from dotrain.report import event_files

        self._format = event_files
        self._run_dir = run_dir
        self._header = header
        self._began_s = datetime.fromisoformat(header["started_at"]).timestamp()
        self._columns: dict[str, Column] = {
            name: event_files.Column.of_domain(name, domain)
            for name, domain in domains_of(header).items()
        }
        #: What every file begins with.
        self._start = event_files.encode(event_files.file_start(self._began_s))
        self._name = _new_name()
        self._begun: set[str] = set()
        self._experiment: Path | None = None
        for old in (*run_dir.path.glob(_FILES), *run_dir.trials.glob(f"*/{_FILES}")):
            old.unlink(missing_ok=True)

    def append(self, trial_id: str, items: Iterable[Item]) -> None:
        """Append what is new of a trial to its file.

        Raises:
            OSError: If it can't be written.
        """
        data = self._format.encode(map(self._event, items))
        if trial_id not in self._begun:
            data = self._start + data
        _append(self._run_dir.trial_dir(trial_id) / self._name, data)
        self._begun.add(trial_id)

    def write_experiment(self, params: Mapping[str, Any], metrics: Mapping[str, str]) -> None:
        """Write what the table of trials consists of, in place of what was written before.

        A TensorBoard that shows the run already keeps the first it has read.

        Args:
            params: Hyperparameters that were seen, with a value of each.
            metrics: The names of the table's numbers by tag.

        Raises:
            OSError: If it can't be written.
        """
        header = self._header
        columns = {**self._columns, **{name: self._column(name, v) for name, v in params.items()}}
        experiment = self._format.experiment(
            self._began_s,
            plain_text(header["name"]),
            plain_text(f"{header['direction']} {header['metric']}"),
            columns.values(),
            metrics,
        )
        path = self._run_dir.path / _new_name()
        _append(path, self._start + self._format.encode([experiment]))
        if self._experiment is not None:
            self._experiment.unlink(missing_ok=True)
        self._experiment = path

    def _column(self, name: str, value: Any) -> Column:
        if name not in self._columns:
            self._columns[name] = self._format.Column.of_value(name, value)
        return self._columns[name]

    def _event(self, item: Item) -> Any:
        wall_s = self._began_s + round(item.time_s, 6)  # as the journal has it
        match item:
            case Scalars(step=step, values=values):
                return self._format.scalars(wall_s, step, values)
            case Restart(step=step):
                return self._format.restart(wall_s, step)
            case Start(trial_id=trial_id, params=params):
                columns = {name: self._column(name, value) for name, value in params.items()}
                return self._format.trial_start(wall_s, trial_id, columns, params)
            case End(failed=failed):
                return self._format.trial_end(wall_s, failed=failed)


def _new_name() -> str:
    """Return a file name after those before: TensorBoard leaves a file that it has open for it."""
    return _FILES.replace("*", str(time.time_ns() // 1000))


def _append(path: Path, data: bytes) -> None:
    try:
        # No buffer, and no fsync: the journal is the truth.
        file = open(path, "ab", buffering=0)  # noqa: SIM115
    except FileNotFoundError:  # no worker has made the trial's folder on this disk
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "ab", buffering=0)  # noqa: SIM115
    with file:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class Writer:
    """Brings what a `Follower` says into `Files`, a little at a time."""

    def __init__(self, follower: Follower, files: Files, clock: Callable[[], float]) -> None:
        """Make a writer.

        Args:
            follower: Says what is new.
            files: Where it goes.
            clock: In seconds; decides when to write, nothing else.
        """
        self._follower = follower
        self._files = files
        self._clock = clock
        #: By trial, the oldest first.
        self._waiting: dict[str, list[Item]] = {}
        self._count = 0
        self._rest_until_s = -1.0
        #: How many hyperparameters and metrics the table has.
        self._known = (-1, -1)

    def take(
        self,
        book: TrialBook,
        trial_ids: Iterable[str],
        time_s: float,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Note what is new of some trials."""
        for trial_id in trial_ids:
            trial = book.trials.get(trial_id)
            if trial is not None:
                self._add(trial_id, self._follower.news(trial, time_s, metrics))

    def _add(self, trial_id: str, items: Iterable[Item]) -> None:
        found = list(items)
        if found:
            self._waiting.setdefault(trial_id, []).extend(found)
            self._count += len(found)

    def take_open(self, book: TrialBook, time_s: float) -> None:
        """Note what is new of every trial that may have changed."""
        self.take(book, self._follower.open, time_s)

    def write_some(self) -> None:
        """Write something if it is time, but not for long.

        Raises:
            OSError: If it can't be written.
        """
        if not self._waiting:
            return
        began_s = now_s = self._clock()
        if now_s < self._rest_until_s and self._count <= _MAX_WAITING:
            return
        while self._waiting and now_s - began_s < _SLICE_S:
            self._write(next(iter(self._waiting)))
            now_s = self._clock()
        if not self._waiting:
            self._write_experiment()
            now_s = self._clock()
        rest_s = (now_s - began_s) / _SHARE
        self._rest_until_s = now_s + (rest_s if self._waiting else max(rest_s, _ROUND_S))

    def write_rest(self, *, run_is_over: bool) -> None:
        """Write everything that waits.

        Args:
            run_is_over: Whether no trial will be promoted any more.

        Raises:
            OSError: If it can't be written.
        """
        if run_is_over:
            for trial_id, item in self._follower.ends():
                self._add(trial_id, [item])
        for trial_id in list(self._waiting):
            self._write(trial_id)
        self._write_experiment()

    def _write(self, trial_id: str) -> None:
        items = self._waiting.pop(trial_id)
        self._count -= len(items)
        self._files.append(trial_id, items)

    def _write_experiment(self) -> None:
        """Write what the table consists of, if there is more of it than before."""
        known = len(self._follower.params), len(self._follower.metrics)
        # Not before the first values: they tell which numbers there are.
        if self._follower.has_values and known != self._known:
            self._files.write_experiment(self._follower.params, self._follower.metrics)
            self._known = known


def _begin(
    run_dir: RunDir, records: Iterable[Record], clock: Callable[[], float]
) -> tuple[Writer, str | None]:
    """Return a writer that has taken in a journal, and how the run has ended, if it has."""
    steps = replay_each(records)
    state, header = next(steps)
    writer = Writer(Follower(header), Files(run_dir, header), clock)
    for state, record in steps:
        if record["type"] == Resumed.__name__:
            writer.take_open(state.book, record["t"])
        elif "trial_id" in record:
            writer.take(state.book, [record["trial_id"]], record["t"], record.get("metrics"))
        writer.write_some()
    return writer, state.status


def write_all(run: Run) -> None:
    """Write the files of a run from its journal alone; old ones of ours are replaced.

    Raises:
        UsageError: If TensorBoard is not installed, or the run's driver may be writing them.
        DotrainError: If they can't be written.
    """
    if run.status == "running":
        raise UsageError(f"{run.run_dir.path} is running, {run.reason}; wait for its end")
    try:
        writer, status = _begin(run.run_dir, run.records, time.monotonic)
        writer.write_rest(run_is_over=status is not None)
    except ImportError as error:
        raise UsageError(
            f"needs TensorBoard ({error}): pip install 'dotrain[tensorboard]'"
        ) from None
    except OSError as error:
        raise DotrainError(f"can't write for TensorBoard: {error}") from error


class TensorBoard:
    """Observes a run and writes its files; whatever goes wrong with them, the run goes on."""

    def __init__(self, run_dir: RunDir, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an observer.

        Args:
            run_dir: Has the journal, and gets the files.
            clock: In seconds; decides when to write, nothing else.
        """
        self._run_dir = run_dir
        self._clock = clock
        self._writer: Writer | None = None
        self._error: Exception | None = None

    def start(self, scheduler: Scheduler) -> None:
        """Write what the journal holds."""
        self._scheduler = scheduler
        try:
            self._writer, _ = _begin(
                self._run_dir, read_journal(self._run_dir.journal), self._clock
            )
            self._writer.write_rest(run_is_over=False)
        except Exception as error:
            self._give_up(error)

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Note what an event has changed."""
        if self._writer is None:
            return
        book = self._scheduler.book
        try:
            if isinstance(event, TrialEvent):
                metrics = event.metrics if isinstance(event, Reported | Finished) else None
                self._writer.take(book, [event.trial_id], time_s, metrics)
            elif isinstance(event, Resumed):
                self._writer.take_open(book, time_s)
            for instruction in instructions:
                trial_id = getattr(instruction, "trial_id", None)
                if trial_id is not None:
                    self._writer.take(book, [trial_id], time_s)
            self._writer.write_some()
        except Exception as error:
            self._give_up(error)

    def on_pulse(self, time_s: float) -> None:
        """Write what has waited."""
        if self._writer is None:
            return
        try:
            self._writer.write_some()
        except Exception as error:
            self._give_up(error)

    def on_interrupt(self) -> None:
        """Go on until the end."""

    def close(self) -> None:
        """Write the rest; say so if something could not be written."""
        if self._writer is not None:
            try:
                self._writer.write_rest(run_is_over=self._scheduler.status is not None)
            except Exception as error:
                self._give_up(error)
        if self._error is not None:
            sys.stderr.write(
                f"warning: TensorBoard's files are incomplete: {self._error}; the journal has "
                "everything\n"
            )

    def _give_up(self, error: Exception) -> None:
        self._error, self._writer = error, None
