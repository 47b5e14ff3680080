"""Which processes of a run are left, however far they have gone from it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import psutil

#: A process that has a folder in it was started by a run in that folder.
MARK = "DOTRAIN_TEST_FOLDER"


def processes_of(folder: Path) -> list[str]:
    """Return the processes, beside this one, that a run in a folder has started.

    Args:
        folder: It stands in their environment, as `MARK`, or is above their current folder.
    """
    mark = f"{MARK}={folder}"
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            is_its = os.fsencode(mark) in environment or Path(process.cwd()).is_relative_to(folder)
            if is_its and process.pid != os.getpid():
                found.append(f"{process.pid} {process.status()}: {process.cmdline()}")
    return found
