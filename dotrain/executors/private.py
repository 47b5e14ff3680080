"""A folder in the place of a run directory, where trials write whose files are kept elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import final

from dotrain.store import RunDir

#: How the names of such folders begin, and while nobody holds them yet.
_PREFIX, _NEW = "dotrain-files-", "dotrain-new-files-"
_LOCK = "lock"


@final
class PrivateFolder:
    """One of this process, which goes with it.

    Attributes:
        run_dir: The folder.
    """

    def __init__(self) -> None:
        """Make it, and remove those whose owners have died.

        Raises:
            OSError: If it can't be made.
        """
        sweep()
        new = Path(tempfile.mkdtemp(prefix=_NEW))  # nobody else may look into it
        self._lock = open(new / _LOCK, "wb")  # noqa: SIM115
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        path = new.with_name(new.name.replace(_NEW, _PREFIX, 1))
        os.rename(new, path)
        self.run_dir = RunDir(path)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.run_dir.path, ignore_errors=True)
        self._lock.close()


def sweep() -> None:
    """Remove the folders of processes that have died."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or another sweeps it
            if folder.stat().st_uid != os.getuid() or folder.is_symlink():
                continue
            with open(folder / _LOCK, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
