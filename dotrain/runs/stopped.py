"""A run that stopped, taken up by this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dotrain.errors import UsageError
from dotrain.store import (
    Contents,
    Holder,
    Lock,
    Record,
    RunDir,
    check_place,
    needs_newer,
    newer,
    read_contents,
    written_by,
)

_ELSEWHERE = "Copy the run directory to another file system, and go on with the copy"


@dataclass(frozen=True)
class StoppedRun:
    """A run that this process alone may go on with; its journal has been read, once.

    Attributes:
        run_dir: Its directory.
        contents: What its journal holds.
        died: The driver before, if it died without letting go of the run.
    """

    run_dir: RunDir
    contents: Contents
    died: Holder | None

    @property
    def header(self) -> Record:
        """The journal's first record."""
        return self.contents.records[0]


@contextmanager
def take_up(path: Path) -> Iterator[StoppedRun]:
    """Lock a run, then read it; it is let go of at the end of the ``with`` block.

    Args:
        path: The run directory.

    Raises:
        UsageError: If it is no run directory, its file system can't hold a run, another driver
            drives it, it never began, or this version would go on with it otherwise than it began.
        JournalError: If the journal is damaged.
    """
    run_dir = RunDir.open(path)
    check_place(run_dir.path, _ELSEWHERE)
    with Lock(run_dir.lock) as lock:
        contents = read_contents(run_dir.journal)
        if not contents.records or contents.records[0]["type"] != "Run":
            raise UsageError(f"{run_dir.path}: the run never began; there is nothing to go on with")
        writer = written_by(contents.records)
        if needs_newer(writer):
            raise UsageError(f"{run_dir.path} can't go on: {newer(writer)}")
        yield StoppedRun(run_dir, contents, lock.recovered_from)
