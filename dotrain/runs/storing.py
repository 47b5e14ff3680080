"""Taking the storage of a run, before anything runs, in words for people."""

from __future__ import annotations

import time

from dotrain.config.schema import Settings
from dotrain.errors import ResourcesUnavailable, UsageError
from dotrain.executors.patience import Patience
from dotrain.store import RunDir
from dotrain.store.claim import take_storage
from dotrain.store.kept import NotOurs
from dotrain.store.storage import Storage, StorageError


def taken(run_dir: RunDir, settings: Settings, began_with: str | None = None) -> Storage | None:
    """Take the storage that a config names; None if it names none.

    Args:
        run_dir: The run directory; its lock is held.
        settings: What the config says.
        began_with: What it said when the run began, if it goes on.

    Raises:
        ResourcesUnavailable: If it can't be read and written, within ``cluster.connect_timeout_s``.
        UsageError: If it isn't this run directory's.
    """
    if settings.storage is None:
        return None
    url, is_other = settings.storage, settings.storage != began_with
    patience = Patience(time.monotonic(), settings.cluster.connect_timeout_s)
    while True:
        try:
            goes_on = began_with is not None
            return take_storage(run_dir, url, goes_on=goes_on, elsewhere=is_other)
        except NotOurs as error:
            raise UsageError(f"storage: {error}") from error
        except StorageError as error:
            delay_s = patience.next_delay_s(time.monotonic()) if error.passes else None
            if delay_s is None:
                raise _unavailable(error) from error
            time.sleep(delay_s)


def _unavailable(error: StorageError) -> ResourcesUnavailable:
    return ResourcesUnavailable(
        f"storage: {error}; nothing was begun. Credentials, region and address are taken from "
        "the environment or the library's own files, as its documentation says"
    )
