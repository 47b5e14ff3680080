"""Where a worker keeps the files of its trials, if it doesn't see the run directory or can't write there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from dotrain.store import RunDir
from dotrain.store.files import Entries, Listing, Piece, Plan, newest_checkpoint
from dotrain.store.folder import Folder, checkpoint_names, remove_others
from dotrain.temporary import Kind, OwnFolder


@final
class Scratch:
    """A private folder in the place of a run directory, for one trial at a time.

    The methods with a trial in front are what the driver asks for; each may run on a thread of its own.

    Attributes:
        run_dir: The folder.
    """

    def __init__(self) -> None:
        """Make it.

        Raises:
            OSError: If it can't be made.
        """
        self._own = OwnFolder(Kind.FILES)
        self.run_dir = RunDir(self._own.path)

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

    def _folder(self, trial_id: str) -> Folder:
        return Folder(self.run_dir.trial_dir(trial_id), self.run_dir.arriving / trial_id)
