"""Files that a worker itself sends to, and gets from, the storage that the config names.

The driver says when, and what of it counts: it alone writes the lists of what is there (`store/kept.py`), so
that a worker that was cut off, and writes on, changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, final

from dotrain.executors.dask.carrier import (
    AbstractCarrier,
    Ask,
    FilesLost,
    HomeError,
    Pieces,
    Wanted,
)
from dotrain.executors.dask.scratch import Trouble
from dotrain.executors.patience import PATIENCE_S, Patience, waiting_text
from dotrain.store import RunDir
from dotrain.store.exchange import Sent
from dotrain.store.files import Listing
from dotrain.store.kept import Kept, ManifestError
from dotrain.store.manifest import Manifest, to_json, unnamed
from dotrain.store.storage import StorageError

#: How often the driver notes that a worker is still at it, in seconds.
_PULSE_S = 1.0


@final
class ToStorage(AbstractCarrier):
    """A worker sends files itself; its log comes home as it does elsewhere."""

    def __init__(
        self, run_dir: RunDir, kept: Kept, ask: Ask, pieces: Pieces, say: Callable[[str], None]
    ) -> None:
        """Make it for a slot.

        Args:
            run_dir: At home.
            kept: Where the files of trials are.
            ask: Calls a method of the worker's `Scratch` by name, for a trial.
            pieces: Bounds what of logs is under way.
            say: Tells people.
        """
        super().__init__(run_dir, ask, pieces)
        self._kept = kept
        self._say = say
        self._has_gone = self._is_last = False

    def drop(self) -> None:
        """Nothing that the worker says counts any more: another may have the trial."""
        self._has_gone = True

    def hurry(self) -> None:
        """The run ends: no storage is waited for as long as else."""
        self._is_last = True

    async def _send(self, home: Listing, there: Listing, wanted: Wanted) -> None:
        """As of `AbstractCarrier`: the worker gets it from the storage."""
        try:
            manifest = to_json(self._kept.manifest(self._trial_id))
        except ManifestError as error:
            raise FilesLost(str(error)) from error
        await self._patiently(wanted, "fetch", manifest, self._rank == 0)

    async def _bring_new(self) -> bool:
        sent = await self._at_it("send", True)
        if not isinstance(sent, Sent):
            return False  # it is sent later
        await self._keep(sent)
        return not sent.wrong

    async def _bring_last(self, there: Listing) -> Mapping[str, str]:
        sent: Sent = await self._patiently(lambda: not self._has_gone, "send", False)
        if sent.wrong:
            raise FilesLost(f"{sent.wrong[0]} has changed while it was sent, and nothing runs")
        await self._keep(sent)
        return sent.skipped

    async def _keep(self, sent: Sent) -> None:
        """Let what was sent count, and remove what doesn't any more."""
        if self._has_gone:
            return
        # From here to the next `await` nothing else happens: what is written is what counts.
        try:
            before = self._kept.manifest(self._trial_id)
            if sent.manifest == before:
                return
            self._kept.write_manifest(self._trial_id, sent.manifest)
        except OSError as error:
            raise HomeError(error) from error
        except ManifestError as error:
            raise FilesLost(str(error)) from error
        await asyncio.to_thread(self._tidy, self._trial_id, before, sent.manifest)

    def _tidy(self, trial_id: str, before: Manifest, now: Manifest) -> None:
        self._kept.sync_manifest(trial_id)
        with contextlib.suppress(StorageError, ManifestError):  # it goes when the run next goes on
            if self._kept.manifest(trial_id) == now:
                self._kept.storage().remove(unnamed(before, now))

    async def _patiently(self, wanted: Wanted, method: str, *arguments: Any) -> Any:
        """Ask the worker again and again, as long as the storage doesn't answer it.

        Raises:
            FilesLost: If that takes too long, or will never help.
        """
        loop = asyncio.get_running_loop()
        patience, is_said = Patience(loop.time(), PATIENCE_S), False
        while wanted():
            answer = await self._at_it(method, *arguments)
            if not isinstance(answer, Trouble):
                return answer
            if self._is_last:
                patience.hurry(loop.time())
            delay_s = patience.next_delay_s(loop.time())
            if delay_s is None or not answer.passes:
                raise FilesLost(f"storage: {answer.why}")
            if not is_said:
                is_said = True
                self._say(waiting_text(answer.why, patience.bound_s))
            await asyncio.sleep(delay_s)
        raise FilesLost("its worker has gone")

    async def _at_it(self, method: str, *arguments: Any) -> Any:
        """Call a method there that may take long; note that something goes on meanwhile."""
        call = asyncio.ensure_future(self._there(method, *arguments))
        try:
            while not (await asyncio.wait([call], timeout=_PULSE_S))[0]:
                self._pieces.count += 1
            return await call
        finally:
            call.cancel()
