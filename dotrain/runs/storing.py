"""Taking the storage of a run, before anything runs, in words for people."""

from __future__ import annotations

from dotrain.errors import ResourcesUnavailable, UsageError
from dotrain.store import RunDir
from dotrain.store.claim import take_storage
from dotrain.store.kept import NotOurs
from dotrain.store.storage import Storage, StorageError


def taken(run_dir: RunDir, url: str | None, *, goes_on: bool) -> Storage | None:
    """Take the storage that a config names; None if it names none.

    Args:
        run_dir: The run directory; its lock is held.
        url: What the config says.
        goes_on: Whether the run has begun before.

    Raises:
        ResourcesUnavailable: If it can't be read and written.
        UsageError: If it isn't this run directory's.
    """
    if url is None:
        return None
    try:
        return take_storage(run_dir, url, goes_on=goes_on)
    except NotOurs as error:
        raise UsageError(f"storage: {error}") from error
    except StorageError as error:
        raise ResourcesUnavailable(
            f"storage: {error}; nothing was begun. Credentials, region and address are taken from "
            "the environment or the library's own files, as its documentation says"
        ) from error
