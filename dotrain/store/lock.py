"""One driver at a time: a lock that the operating system lets go when its holder dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType

import psutil

from dotrain.errors import UsageError


@dataclass(frozen=True)
class Holder:
    """Who drives a run, or drove it last.

    Attributes:
        pid: Process id.
        host: Name of the machine.
        started_s: When the process started, in seconds since the epoch.
    """

    pid: int
    host: str
    started_s: float

    @classmethod
    def me(cls) -> Holder:
        """Return this process."""
        return cls(os.getpid(), socket.gethostname(), psutil.Process().create_time())

    def is_alive(self) -> bool | None:
        """Whether the process lives; None if it is on another machine, where there is no telling."""
        if self.host != socket.gethostname():
            return None
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started_s) < 1.0)
        except psutil.NoSuchProcess:
            return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Lock:
    """The lock of a run directory, held inside a ``with`` block.

    Attributes:
        recovered_from: The driver that died without letting go, or None.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self.recovered_from: Holder | None = None

    def __enter__(self) -> Lock:
        """Take the lock.

        Raises:
            UsageError: If another driver holds it, which is named, or there are no locks.
        """
        try:
            # Unbuffered: what a full disk doesn't take must not be tried again when it is closed.
            file = open(self._path, "ab", buffering=0)
        except OSError as error:
            is_closed = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
            advice = "; a copy of the run directory, where you may write, goes on as well"
            raise UsageError(
                f"can't lock the run: {self._path}: {error.strerror}{advice * is_closed}"
            ) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if not isinstance(error, BlockingIOError):
                raise UsageError(
                    f"can't lock the run: {self._path}: {error.strerror}; the run must lie on a file "
                    "system with locks"
                ) from None
            holder = read_holder(self._path) or "another process"
            raise UsageError(
                f"{self._path.parent} is being driven by {holder}; wait for it or stop it"
            ) from None
        self._file = file
        self.recovered_from = read_holder(self._path)
        self._write(json.dumps(asdict(Holder.me())))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the lock."""
        assert self._file is not None
        self._write("")
        self._file.close()

    def _write(self, text: str) -> None:
        assert self._file is not None
        # A full disk must not keep a run from ending; the lock itself is the kernel's.
        try:
            self._file.truncate(0)
            self._file.write(text.encode())
        except OSError:
            pass


def read_holder(path: Path) -> Holder | None:
    """Return who holds a lock, or died holding it; None if it was let go. Never locks."""
    try:
        text = path.read_text(encoding="utf-8")
        return Holder(**json.loads(text)) if text else None
    except (OSError, ValueError, TypeError):
        return None
