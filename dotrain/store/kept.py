"""Where the files of a run's trials are kept: in its directory, or in the storage that its config names.

Logs are in the directory in both cases. What else there is of a trial is asked here, whoever asks; of what
is in a storage the directory has a list, so that asking costs no request.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple, final

from dotrain.errors import DotrainError
from dotrain.store import checkpoints
from dotrain.store.disk import sync_path
from dotrain.store.manifest import (
    Manifest,
    Stored,
    checkpoint_bytes,
    from_json,
    keys_of,
    newest_in,
    to_json,
    unnamed,
    without_checkpoints,
)
from dotrain.store.run_dir import RunDir, replace_file
from dotrain.store.storage import Place, Storage, StorageError, digest_of


class ManifestError(DotrainError):
    """The list of what is kept of a trial can't be read."""


class NotOurs(StorageError):
    """What is in the storage isn't this run directory's."""


@final
class _Later:
    """Does one thing after another on a thread: a slow disk, or a storage, doesn't hold up the run.

    Whoever can't wait for it leaves the rest to the next who goes on with the run.
    """

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: Thread | None = None

    def add(self, call: Callable[[], None]) -> None:
        self._waiting.put(call)
        if self._thread is None:
            self._thread = Thread(target=self._run, name="dotrain-freeing", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (call := self._waiting.get()) is not None:
            call()


@final
class Kept:
    """The files of a run's trials."""

    def __init__(self, run_dir: RunDir, storage: Storage | None = None) -> None:
        """Look where they are; nothing is asked over a network.

        Args:
            run_dir: The run directory.
            storage: The run's, if it is open already.
        """
        self._run_dir = run_dir
        self._storage = storage
        claim = None if storage else read_claim(run_dir)
        self.place = storage.place if storage else claim and claim.place
        #: What no manifest names any more, and is still there.
        self._unneeded: list[str] = []
        #: The folders of trials in which checkpoints have been discarded.
        self._discarded: list[Path] = []
        self._later = _Later()

    # ---- checkpoints ----

    def newest_checkpoint(self, trial_id: str) -> str | None:
        """Return the path or URL of a trial's newest checkpoint, or None."""
        if self.place is None:
            found = checkpoints.checkpoints_in(self._run_dir.checkpoint(trial_id))
            return str(found[-1].folder) if found else None
        manifest = self.manifest(trial_id)
        newest = newest_in(manifest)
        if newest is None:
            return None
        inside = [p for p, one in manifest.items() if one and p.startswith(f"{newest}/")]
        if not inside:  # it is a folder with nothing in it
            return self.place.url_of(f"{trial_id}/{newest}")
        stored = manifest[inside[0]]
        assert stored is not None
        top = stored.key.split("/")[:2]  # what was sent together
        return self.place.url_of("/".join([*top, newest]))

    def checkpoint_bytes(self, trial_id: str) -> int:
        """Return how much all checkpoints of a trial hold."""
        if self.place is None:
            return checkpoints.size_of(self._run_dir.checkpoint(trial_id))
        return checkpoint_bytes(self.manifest(trial_id))

    def free_checkpoints(self, trial_id: str) -> None:
        """Let a trial have no checkpoint any more; what is left of them goes with `remove_unneeded`.

        Raises:
            OSError: If that can't be; the newest is whole then.
        """
        if self.place is None:
            directory = self._run_dir.checkpoint(trial_id)
            checkpoints.discard_all(directory)
            self._discarded.append(directory)
            return
        manifest = self.manifest(trial_id)
        left = without_checkpoints(manifest)
        if len(left) < len(manifest):
            self.write_manifest(trial_id, left, sync=True)
            self._unneeded += unnamed(manifest, left)

    def remove_unneeded(self, *, wait: bool) -> None:
        """Remove what was freed.

        Args:
            wait: Whether to return when that is done; else it is done meanwhile.

        Raises:
            StorageError: If it can't be, and is waited for; it goes when the run next goes on.
        """
        folders, self._discarded = self._discarded, []
        keys, self._unneeded = self._unneeded, []
        if wait:
            self._later.finish()
            self._remove(folders, keys)
        elif folders or keys:
            self._later.add(lambda: self._try_to_remove(folders, keys))

    def finish_removing(self) -> None:
        """Wait until all that is removed meanwhile has been."""
        self._later.finish()

    def _remove(self, folders: Iterable[Path], keys: list[str]) -> None:
        for folder in folders:
            checkpoints.clear(folder)
        if keys:
            self.storage().remove(keys)

    def _try_to_remove(self, folders: Iterable[Path], keys: list[str]) -> None:
        # Else it goes when the run next goes on.
        with contextlib.suppress(StorageError, ManifestError):
            self._remove(folders, keys)

    # ---- what is in the storage ----

    def storage(self) -> Storage:
        """Return the run's storage, as long as it is this run directory's.

        Raises:
            StorageError: If it can't be had; `NotOurs` if another has taken it.
        """
        if self._storage is None:
            assert self.place is not None
            storage = Storage(self.place)
            said = storage.read_claims()
            if not is_ours(said, read_claim(self._run_dir)):
                raise not_ours(self.place, said)
            self._storage = storage
        return self._storage

    def manifest(self, trial_id: str) -> dict[str, Stored | None]:
        """Return what the storage has of a trial.

        Raises:
            ManifestError: If it can't be read.
        """
        return read_manifest(self._run_dir.manifest(trial_id))

    def write_manifest(self, trial_id: str, manifest: Manifest, *, sync: bool = False) -> None:
        """Let something else count as what the storage has of a trial.

        Raises:
            OSError: If the run directory can't be written.
        """
        self._run_dir.storage.mkdir(exist_ok=True)
        replace_file(self._run_dir.manifest(trial_id), to_json(manifest).encode(), sync=sync)

    def sync_manifest(self, trial_id: str) -> None:
        """Let it be on the disk before what it doesn't name any more is removed."""
        sync_path(self._run_dir.manifest(trial_id))
        sync_path(self._run_dir.storage)

    def manifests(self) -> dict[str, dict[str, Stored | None]]:
        """Return what the storage has, by trial.

        Raises:
            ManifestError: If a list can't be read.
        """
        files = sorted(self._run_dir.storage.glob("t*.json"))
        return {file.stem: read_manifest(file) for file in files}

    def sweep(self) -> int:
        """Remove from the storage what no trial has; return how many objects that were.

        Raises:
            StorageError: If that can't be done.
            ManifestError: If nobody can tell.
        """
        storage = self.storage()
        named = {key for manifest in self.manifests().values() for key in keys_of(manifest)}
        storage.abort_uploads()
        rubbish = [key for key in storage.list_keys() if key not in named]
        if rubbish:
            storage.remove(rubbish)
        return len(rubbish)

    def tidy(self) -> None:
        """As `sweep`, if the storage was used."""
        if self._storage is not None:
            self.sweep()

    def fetch(self, stored: Stored, file: Path) -> None:
        """Read an object into a file, which is whole and what was written then.

        Raises:
            StorageError: If it can't be had.
            OSError: If the file can't be written.
        """
        if self._storage is None:
            assert self.place is not None
            self._storage = Storage(self.place)  # whoever reads takes nothing from anybody
        self._storage.get(stored, file)
        if digest_of(file) != stored.digest:
            raise self._storage.other_than_written(stored)


def read_manifest(file: Path) -> dict[str, Stored | None]:
    """Return what a storage has of a trial; nothing if there is no such list.

    Raises:
        ManifestError: If it can't be read.
    """
    try:
        return from_json(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{file} can't be read: {error}") from error


# ---- whose it is ----


class Claim(NamedTuple):
    """Where a run's files are, as the run directory knows it.

    Attributes:
        place: Where, and what its last driver has written there.
        claiming: What may be there instead, if one has died when it was about to write.
    """

    place: Place
    claiming: tuple[str, ...] = ()


def read_claim(run_dir: RunDir) -> Claim | None:
    """Return where a run's files are, or None if they are in its directory.

    Raises:
        ManifestError: If it can't be read.
    """
    try:
        found = json.loads(run_dir.storage_place.read_text())
        place = Place(found["url"], found["folder"], found["claim"])
        return Claim(place, tuple(found["claiming"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{run_dir.storage_place} can't be read: {error}") from error


def write_claim(run_dir: RunDir, claim: Claim) -> None:
    """Write it down, on the disk, before anything follows from it.

    Raises:
        OSError: If the run directory can't be written.
    """
    run_dir.storage.mkdir(exist_ok=True)
    told = {**claim.place._asdict(), "claiming": claim.claiming}
    replace_file(run_dir.storage_place, (json.dumps(told) + "\n").encode(), sync=True)


def is_ours(said: set[str], known: Claim | None) -> bool:
    """Whether what is in a storage is a run directory's, as far as that knows.

    Args:
        said: The names of drivers that are there.
        known: What the run directory has of it.
    """
    return known is not None and bool(said) and said <= {known.place.claim, *known.claiming}


def not_ours(place: Place, said: set[str]) -> NotOurs:
    """Say that what is in a storage isn't this run directory's."""
    if not said:
        return NotOurs(
            f"{place.top} has no files of this run; if they lie elsewhere now, give that URL with "
            "--set storage=..."
        )
    return NotOurs(
        f"the files at {place.top} belong to a copy of this run directory, which has gone on with "
        "them; go on with that one"
    )
