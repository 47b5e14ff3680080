"""Where a worker keeps the files of its trials, if it doesn't see the run directory or can't write there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

from dotrain.attempts.launch import RankLaunch
from dotrain.store import RunDir
from dotrain.store.exchange import Exchange, Sent
from dotrain.store.files import Entries, Listing, Piece, Plan, newest_checkpoint
from dotrain.store.folder import Folder, checkpoint_names, remove_others
from dotrain.store.manifest import from_json
from dotrain.store.storage import Storage, StorageError
from dotrain.temporary import Kind, OwnFolder


class Trouble(NamedTuple):
    """What the storage has against what was asked for.

    Attributes:
        why: In words.
        passes: Whether it may be otherwise later.
    """

    why: str
    passes: bool


@final
class Scratch:
    """A private folder in the place of a run directory, for one trial at a time.

    The methods with a trial in front are what the driver asks for; each may run on a thread of its own.

    Attributes:
        run_dir: The folder.
    """

    def __init__(self, storage: Storage | None = None) -> None:
        """Make it.

        Args:
            storage: Where the trials' files are kept, if not at home.

        Raises:
            OSError: If it can't be made.
        """
        self._own = OwnFolder(Kind.FILES)
        self.run_dir = RunDir(self._own.path)
        self._storage = storage
        self._exchange: tuple[str, Exchange] | None = None

    def remove(self) -> None:
        """Remove it with all that is in it."""
        self._own.remove()

    def news(self, trial_id: str, rank: int) -> tuple[int, str | None]:
        """Return how many bytes a rank has printed, and the name of the newest checkpoint."""
        try:
            size = self.run_dir.trial_log(trial_id, rank).stat().st_size
        except OSError:
            size = 0
        return size, newest_checkpoint(checkpoint_names(self.run_dir.trial_dir(trial_id)))

    # ---- what the driver asks for ----

    def begin(self, trial_id: str) -> Listing:
        """Get ready for an attempt: nothing of other trials stays, and no log; return what is there."""
        remove_others(self.run_dir.trials, trial_id)
        folder = self._folder(trial_id)
        folder.drop_partial()
        found = folder.listing()
        for name in found.logs:
            (self.run_dir.trial_dir(trial_id) / name).unlink()
        return found

    def listing(self, trial_id: str) -> Listing:
        """As of `Folder`."""
        return self._folder(trial_id).listing()

    def read(self, trial_id: str, pieces: Sequence[Piece]) -> list[bytes | None]:
        """As of `Folder`."""
        return self._folder(trial_id).read(pieces)

    def digests(self, trial_id: str, sizes: Mapping[str, int]) -> dict[str, str | None]:
        """As of `Folder`."""
        return self._folder(trial_id).digests(sizes)

    def write(self, trial_id: str, pieces: Sequence[tuple[str, int, bytes]]) -> None:
        """As of `Folder`."""
        self._folder(trial_id).write(pieces)

    def commit(
        self, trial_id: str, plan: Plan, digests: Mapping[str, str | None]
    ) -> tuple[Entries, list[str]]:
        """As of `Folder`."""
        return self._folder(trial_id).commit(plan, digests)

    # ---- the same, where files are kept in a storage ----

    def fetch(self, trial_id: str, manifest: str, is_chief: bool) -> Trouble | None:
        """Make the trial's folder like what the storage has, after `begin`; as of `Exchange`.

        Returns:
            What the storage has against it.
        """
        assert self._storage is not None
        if self._exchange is None or self._exchange[0] != trial_id:
            self._exchange = trial_id, Exchange(trial_id, self._folder(trial_id), self._storage)
        try:
            self._exchange[1].fetch(from_json(manifest), is_chief=is_chief)
        except StorageError as error:
            return Trouble(str(error), error.passes)
        return None

    def send(self, trial_id: str, running: bool) -> Sent | Trouble:
        """Send what is new, after `fetch`; as of `Exchange`."""
        assert self._exchange is not None
        assert self._exchange[0] == trial_id
        try:
            return self._exchange[1].send(running=running)
        except StorageError as error:
            return Trouble(str(error), error.passes)

    def _folder(self, trial_id: str) -> Folder:
        return Folder(self.run_dir.trial_dir(trial_id), self.run_dir.arriving / trial_id)


@dataclass
class SlotFiles:
    """A slot's own place for the files of its trials, and what has been told of what runs there."""

    scratch: Scratch
    running: RankLaunch | None = None
    told: tuple[int, str | None] | None = None
