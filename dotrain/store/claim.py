"""Taking a run's part of a storage: one driver at a time, and only what its run directory knows."""

from __future__ import annotations

import secrets

from dotrain.store.kept import Claim, Kept, is_ours, not_ours, read_claim, write_claim
from dotrain.store.run_dir import RunDir
from dotrain.store.storage import Place, Storage, StorageError, folder_name


def take_storage(run_dir: RunDir, url: str, *, goes_on: bool, elsewhere: bool = True) -> Storage:
    """Take it, and remove what no trial has: what dead workers and drivers have left.

    What is written there names this driver. A copy of the run directory doesn't know that name, and so
    can't go on with, or delete, files that aren't its own any more.

    Args:
        run_dir: The run directory; its lock is held.
        url: Of the config.
        goes_on: Whether the run has begun before.
        elsewhere: Whether files that lie at another URL by now are looked for at this one; else it is
            only what the run began with, and they are looked for where they were last.

    Raises:
        StorageError: If it can't be read and written; `NotOurs` if it isn't this run's.
        ManifestError: If the run directory's lists can't be read.
        OSError: If the run directory can't be written.
    """
    known = read_claim(run_dir)
    url = known.place.url if known and not elsewhere else url
    folder = known.place.folder if known else folder_name(run_dir.token)
    storage = Storage(Place(url, folder, known.place.claim if known else ""))
    said = storage.read_claims()
    if not is_ours(said, known) and (said or goes_on):
        raise not_ours(storage.place, said)
    new = secrets.token_hex(8)
    # Whatever of these is found when a driver has died here, it is known.
    write_claim(run_dir, Claim(storage.place, (*sorted(said), new)))
    storage.write_claim(new, said)
    if storage.read_claims() != {new}:
        raise StorageError(f"{storage.place.top} doesn't keep what is written there")
    storage.place = Place(url, folder, new)
    write_claim(run_dir, Claim(storage.place))
    Kept(run_dir, storage).sweep()
    return storage
