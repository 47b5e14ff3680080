"""A trial's output goes to its log, and the streams are as before afterwards."""

from __future__ import annotations

import os
import pdb
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def captured(log: Path, *, whole_process: bool) -> Iterator[IO[str]]:
    """Append everything printed inside to a file.

    ``breakpoint()`` inside still talks to the terminal.

    Args:
        log: The file; its folder exists.
        whole_process: Redirect the file descriptors too, so that libraries written in C and
            child processes are caught; for processes that run nothing else.
    """
    with open(log, "a", encoding="utf-8", buffering=1, errors="backslashreplace") as file:
        streams = sys.stdout, sys.stderr
        hook = sys.breakpointhook
        saved = _redirect_descriptors(file.fileno()) if whole_process else []
        sys.stdout = sys.stderr = file

        def to_terminal(*args: Any, **kwargs: Any) -> None:
            sys.stdout, sys.stderr = streams
            pdb.Pdb(stdout=streams[1]).set_trace(sys._getframe(1))

        sys.breakpointhook = to_terminal
        try:
            yield file
        finally:
            sys.breakpointhook = hook
            sys.stdout, sys.stderr = streams
            for number, copy in saved:
                os.dup2(copy, number)
                os.close(copy)


def _redirect_descriptors(target: int) -> list[tuple[int, int]]:
    saved = []
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        stream.flush()
        saved.append((number, os.dup(number)))
        os.dup2(target, number)
    return saved
