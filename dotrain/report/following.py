"""A trial's log, as it grows."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import final

from dotrain.core.trial import Trial, TrialState
from dotrain.report.reading import Run, read_run
from dotrain.report.story import find_trial
from dotrain.store import Record, RunState, read_holder, take_record

#: How often to look for more, in seconds.
_LOOK_S = 0.2
#: How much of a log is read at once, in bytes.
_PIECE_BYTES = 1 << 16


@final
class Following:
    """Whether a trial may still print something, told by the records that come; pure."""

    def __init__(self, state: RunState, trial: Trial) -> None:
        self._state, self._trial = state, trial

    @property
    def is_over(self) -> bool:
        """Whether no attempt of it runs, or is about to."""
        state = self._trial.state
        return self._state.status is not None or not (state.active or state is TrialState.WAITING)

    def take(self, record: Record) -> None:
        """Take in the next record of the journal."""
        take_record(self._state, record)


def follow_log(
    path: Path,
    name: str,
    write: Callable[[bytes], object],
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Hand on what a trial has printed, and what it prints, until its attempt has ended.

    Args:
        path: The run directory.
        name: ``t0007``, or its number.
        write: Gets the bytes of the log, in order.
        pause: Waits for a time in seconds.

    Raises:
        UsageError: If `path` is no run directory, or has no such trial.
        JournalError: If the journal is damaged or newer than this dotrain.
    """
    run = read_run(path)
    trial = find_trial(run, name)
    offsets: Counter[str] = Counter()
    # Once more when it is over: what was printed before the end is in it, then.
    for _ in looks(run, trial, pause):
        for folder in trial.folders:  # one for each repeat
            for piece in _pieces(run.run_dir.trial_log(folder), offsets[folder]):
                write(piece)
                offsets[folder] += len(piece)


def looks(run: Run, trial: Trial, pause: Callable[[float], object]) -> Iterator[bool]:
    """Yield at each look whether a trial is over; the last time it is.

    Args:
        run: As it was read.
        trial: One of its trials.
        pause: Waits for a time in seconds, between looks.
    """
    following = Following(run.state, trial)
    with open(run.run_dir.journal, "rb") as journal:
        for _ in run.records:
            journal.readline()
        while True:
            for record in _more(journal):
                following.take(record)
            holder = read_holder(run.run_dir.lock)
            is_over = following.is_over or holder is None or holder.is_alive() is False
            yield is_over
            if is_over:
                return
            pause(_LOOK_S)


def _more(journal: BufferedReader) -> Iterator[Record]:
    """Yield the records that are whole by now."""
    while True:
        begin = journal.tell()
        line = journal.readline()
        if not line.endswith(b"\n"):
            journal.seek(begin)
            return
        yield json.loads(line)


def _pieces(log: Path, offset: int) -> Iterator[bytes]:
    try:
        with open(log, "rb") as file:
            file.seek(offset)
            while piece := file.read(_PIECE_BYTES):
                yield piece
    except FileNotFoundError:
        return
