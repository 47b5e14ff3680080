"""A trial's output goes to its log, and the streams are as before afterwards."""

from __future__ import annotations

import contextlib
import io
import os
import pdb
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ERRORS = "backslashreplace"


def redirect(log: Path) -> None:
    """Append to a file, from here on, whatever this process and its children print.

    Libraries written in C are caught too; for processes that run nothing else.

    Args:
        log: The file; its folder exists.
    """
    flush(sys.__stdout__, sys.__stderr__)
    target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for number in (1, 2):
        os.dup2(target, number)
    os.close(target)
    # The streams that the process began with, whatever the user's modules have put there.
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    set_streams()


def set_streams() -> None:
    """Let lines be written when they end, whatever is in them."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper) or stream.closed:
            continue
        if not (stream.line_buffering and stream.errors == _ERRORS):
            stream.reconfigure(line_buffering=True, errors=_ERRORS)


class _Redirected:
    """The process's standard output and error, led to a file."""

    def __init__(self, log: Path) -> None:
        self._saved: list[tuple[int, int]] = []
        flush(sys.__stdout__, sys.__stderr__)
        target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        for number in (1, 2):
            with contextlib.suppress(OSError):  # the process was started with it closed
                self._saved.append((number, os.dup(number)))
                os.dup2(target, number)
        os.close(target)

    def restore(self) -> None:
        """Lead them to where they led before; safe to call twice."""
        flush(sys.__stdout__, sys.__stderr__)
        while self._saved:
            number, copy = self._saved.pop()
            os.dup2(copy, number)
            os.close(copy)


def flush(*streams: Any) -> None:
    """Write out what streams hold; one may be closed, or None."""
    for stream in streams:
        with contextlib.suppress(Exception):
            stream.flush()


@contextlib.contextmanager
def captured(log: Path) -> Iterator[None]:
    """Append everything that Python prints inside to a file; ``breakpoint()`` has the terminal.

    On a process's main thread, libraries written in C and child processes are caught too: nothing
    else of it runs meanwhile.

    Args:
        log: The file; its folder exists.
    """
    streams, hook = (sys.stdout, sys.stderr), sys.breakpointhook
    with open(log, "a", encoding="utf-8", buffering=1, errors="backslashreplace") as file:
        out, err = _Following(file, "stdout"), _Following(file, "stderr")
        is_main = threading.current_thread() is threading.main_thread()
        redirected = _Redirected(log) if is_main else None
        sys.stdout, sys.stderr = out, err

        def to_terminal(*args: Any, **kwargs: Any) -> None:
            sys.stdout, sys.stderr = streams
            if redirected:
                redirected.restore()
            pdb.Pdb(stdout=streams[1]).set_trace(sys._getframe(1))

        sys.breakpointhook = to_terminal
        try:
            yield
        finally:
            sys.breakpointhook = hook
            sys.stdout, sys.stderr = streams
            out.target = err.target = None
            if redirected:
                redirected.restore()


class _Following(io.TextIOBase):
    """A stream that outlives its trial: from then on it is whatever the process has there.

    A logging handler that a train function has set up once goes on with it, into the log of
    whichever trial runs.
    """

    def __init__(self, target: io.TextIOWrapper, name: str) -> None:
        self.target: io.TextIOWrapper | None = target
        self._name = name

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        target = self.target or getattr(sys, self._name)
        if target is self or target is None or target.closed:
            return len(text)
        return int(target.write(text))

    def flush(self) -> None:
        if self.target is not None and not self.target.closed:
            self.target.flush()

    def fileno(self) -> int:
        if self.target is None:
            raise io.UnsupportedOperation("fileno")
        return self.target.fileno()

    def close(self) -> None:
        """Stay open: the log is not the train function's to close."""
