"""The disk below a run directory: what is written there outlives a power cut, if it can."""

from __future__ import annotations

import errno
import os
from pathlib import Path

#: What a disk says that is full.
FULL = (errno.ENOSPC, errno.EDQUOT)
#: What a file system says that has no sync of its own.
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
#: Without the times of the file, where the system can leave them.
_sync_data = getattr(os, "fdatasync", os.fsync)


def sync_data(descriptor: int) -> None:
    """Bring what a file holds to the disk; nothing where the file system has no way to.

    Raises:
        OSError: If the disk is full or broken.
    """
    try:
        _sync_data(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def sync_path(path: Path) -> bool:
    """Bring a file, or which files a folder has, to the disk, as far as that can be.

    Args:
        path: The file or folder; passed over if it isn't there, or isn't ours to open.

    Returns:
        False if the file system has no way to.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return error.errno not in _NO_SYNC
    return True
