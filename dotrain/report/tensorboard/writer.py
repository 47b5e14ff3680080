"""Writing in slices, so that the driver isn't held up; and all at once, from a journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from dotrain.core.events import Resumed
from dotrain.core.instructions import RunStatus
from dotrain.core.trial import Trial
from dotrain.errors import DotrainError, UsageError
from dotrain.report.reading import Run
from dotrain.report.tensorboard.files import Files
from dotrain.report.tensorboard.follower import Follower, Item
from dotrain.store import Record, RunDir, RunState, replay_each

#: The shortest time between two rounds of writing, in seconds; what happens meanwhile goes together.
_ROUND_S = 1.0

#: The driver is held up no longer than this at once, and for no more than this share of its time.
_SLICE_S = 0.002
_SHARE = 0.01

#: If more than so many records wait, it may be a larger share.
_MAX_WAITING = 50_000


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

    def take(
        self,
        trials: Mapping[str, Trial],
        trial_ids: Iterable[str],
        time_s: float,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Note what is new of some trials."""
        for trial_id in trial_ids:
            trial = trials.get(trial_id)
            if trial is not None:
                self._add(trial_id, self._follower.news(trial, time_s, metrics))

    def _add(self, trial_id: str, items: Iterable[Item]) -> None:
        found = list(items)
        if found:
            self._waiting.setdefault(trial_id, []).extend(found)
            self._count += len(found)

    def take_open(self, trials: Mapping[str, Trial], time_s: float) -> None:
        """Note what is new of every trial that may have changed."""
        self.take(trials, self._follower.open, time_s)

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
        rest_s = (now_s - began_s) / _SHARE
        self._rest_until_s = now_s + (rest_s if self._waiting else max(rest_s, _ROUND_S))

    def write_all(self) -> None:
        """Write everything that waits.

        Raises:
            OSError: If it can't be written.
        """
        for trial_id in list(self._waiting):
            self._write(trial_id)

    def finish(self, trials: Mapping[str, Trial], *, run_is_over: bool) -> None:
        """Write everything that waits, and the rows of trials that are not over as they are now.

        Args:
            trials: All of them.
            run_is_over: Whether no trial will be promoted any more.

        Raises:
            OSError: If it can't be written.
        """
        for trial_id in self._follower.open:
            rest = self._follower.rest(trials[trial_id], run_is_over=run_is_over)
            self._add(trial_id, rest)
        self.write_all()

    def _write(self, trial_id: str) -> None:
        items = self._waiting.pop(trial_id)
        self._count -= len(items)
        self._files.append(trial_id, items)


def begin(
    run_dir: RunDir, records: Iterable[Record], clock: Callable[[], float]
) -> tuple[Writer, RunState]:
    """Return a writer that has taken in a journal, and what the journal adds up to."""
    steps = replay_each(records)
    state, header = next(steps)
    writer = Writer(Follower(header), Files(run_dir, header), clock)
    for state, record in steps:
        if record["type"] == Resumed.__name__:
            writer.take_open(state.book.trials, record["t"])
        elif "trial_id" in record:
            metrics = record.get("metrics")
            writer.take(state.book.trials, [record["trial_id"]], record["t"], metrics)
        writer.write_some()
    return writer, state


def write_all(run: Run) -> None:
    """Write the files of a run from its journal alone; old ones of ours are replaced.

    Raises:
        UsageError: If TensorBoard is not installed, or the run's driver may be writing them.
        DotrainError: If they can't be written.
    """
    if run.status is RunStatus.RUNNING:
        raise UsageError(f"{run.run_dir.path} is running, {run.reason}; wait for its end")
    try:
        writer, state = begin(run.run_dir, run.records, time.monotonic)
        writer.finish(state.book.trials, run_is_over=state.status is not None)
    except ImportError as error:
        raise UsageError(
            f"needs TensorBoard ({error}): pip install 'dotrain[tensorboard]'"
        ) from None
    except OSError as error:
        raise DotrainError(f"can't write for TensorBoard: {error}") from error
