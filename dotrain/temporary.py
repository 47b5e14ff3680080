"""Folders among the temporary ones that go with the process that made them, however it ends.

Each holds a file that its owner, and what that has forked, keeps locked; the operating system lets go of
it. Whoever begins something on this host removes the folders that nobody holds any more.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self, final

#: How the names begin of folders that nobody holds yet.
_NEW = "dotrain-new-"
#: In such a folder: the file that its owner holds.
_LOCK = "lock"


class Kind(StrEnum):
    """What a folder is for; its name begins so."""

    #: What a rank writes that isn't its trial's chief.
    RANK = "dotrain-rank-"
    #: The files of a worker's trials, if it doesn't see the run directory.
    FILES = "dotrain-files-"
    #: Code that a run has kept.
    ARCHIVED = "dotrain-archived-"
    #: The user's code where processes of a host can't share it.
    CODE = "dotrain-code-own-"
    #: What the rehearsal of a study answers.
    REHEARSAL = "dotrain-rehearsal-"
    #: What a framework writes of a training under way.
    SNAPSHOT = "dotrain-snapshot-"
    #: What a feature store answers.
    FEATURES = "dotrain-features-"
    #: Files of a table that were fetched.
    TABLE = "dotrain-table-"

    @property
    def beginning(self) -> str:
        """How the paths of all such folders begin, without links."""
        return os.path.join(os.path.realpath(tempfile.gettempdir()), self)


@final
class OwnFolder:
    """A new folder that no other user can enter.

    Attributes:
        path: Without links. What is named ``lock`` in it isn't its owner's.
    """

    def __init__(self, kind: Kind) -> None:
        """Make it.

        Raises:
            OSError: If it can't be made.
        """
        new = Path(tempfile.mkdtemp(prefix=_NEW)).resolve()
        self._pid = os.getpid()
        self._lock = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with contextlib.suppress(OSError):  # without locks nobody sweeps it either
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Now only: what has the right name and isn't held is taken for left.
            self.path = new.with_name(new.name.replace(_NEW, kind, 1))
            os.rename(new, self.path)
        except BaseException:
            os.close(self._lock)
            shutil.rmtree(new, ignore_errors=True)
            raise

    def remove(self) -> None:
        """Remove it with all that is in it; does nothing after that, or in a fork of its owner."""
        if os.getpid() == self._pid and self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Remove it."""
        self.remove()


def sweep() -> None:
    """Remove our folders of all kinds whose owners are dead."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as found:
        for entry in found:
            if entry.name.startswith(tuple(Kind)):
                with contextlib.suppress(OSError):  # held, or another sweeps it
                    _remove_if_left(entry)


def _remove_if_left(entry: os.DirEntry[str]) -> None:
    found = entry.stat(follow_symlinks=False)
    # Of another user's nothing is opened: it may be a pipe, or lead elsewhere.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = os.open(os.path.join(entry.path, _LOCK), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(lock)
