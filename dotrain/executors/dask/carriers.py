"""The carriers of all slots whose workers don't share the driver's disk."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import final

from dotrain.executors.dask.carrier import AbstractCarrier, Pieces, ThroughDotrain
from dotrain.executors.dask.stored import ToStorage
from dotrain.executors.dask.wire import Wire
from dotrain.executors.group import Group
from dotrain.store import RunDir
from dotrain.store.kept import Kept
from dotrain.store.storage import Storage
from dotrain.training.program import Program

#: How long the processes of a slot may take to end when the run is over, in seconds.
_QUIET_S = 6.0
#: How long a rank's log is, and the name of its newest checkpoint.
News = tuple[int, str | None]


@final
class Carriers:
    """Who brings the files of which slot home.

    Attributes:
        pieces: What is under way.
    """

    def __init__(self, wire: Wire, program: Program, say: Callable[[str], None]) -> None:
        """Make it; nothing is carried yet.

        Args:
            wire: To the workers.
            program: What attempts run.
            say: Tells people.
        """
        self._wire = wire
        self._run_dir = RunDir(Path(program.run_dir))
        self._kept: Kept | None = None
        if program.storage is not None:
            self._kept = Kept(self._run_dir, Storage(program.storage))
        self._say = say
        self.pieces = Pieces()
        self._carriers: dict[str, AbstractCarrier] = {}
        #: What is to be looked for next on slots where that is being done already.
        self._news: dict[str, News | None] = {}
        #: Set when nothing runs on a slot any more.
        self._quiet: dict[str, asyncio.Event] = {}

    def __contains__(self, address: str) -> bool:
        """Whether the files of a slot's trials are carried."""
        return address in self._carriers

    def add(self, address: str) -> None:
        """Begin to carry the files of a slot's trials."""
        ask = partial(self._wire.files, address)
        self._carriers[address] = (
            ThroughDotrain(self._run_dir, ask, self.pieces)
            if self._kept is None
            else ToStorage(self._run_dir, self._kept, ask, self.pieces, self._say)
        )
        self._quiet[address] = asyncio.Event()

    def drop(self, address: str) -> bool:
        """Note that a slot has gone; return whether its files were carried."""
        if address in self._quiet:
            self._quiet.pop(address).set()
        carrier = self._carriers.pop(address, None)
        if carrier is not None:
            carrier.drop()
        return carrier is not None

    async def hand_out(self, group: Group) -> dict[str, Exception]:
        """Give the ranks of a group what they may go on from; return what went wrong, by address."""
        folder = group.launch.folder
        ranks = {a: rank for rank, a in enumerate(group.addresses) if a in self._carriers}
        handed = [
            self._carriers[address].hand_out(folder, rank, lambda: not group.is_settled)
            for address, rank in ranks.items()
        ]
        answers = await asyncio.gather(*handed, return_exceptions=True)
        return {a: e for a, e in zip(ranks, answers, strict=True) if isinstance(e, Exception)}

    async def follow(self, address: str, news: News) -> None:
        """Bring home what is new on a slot; what comes in the meantime is looked for in one go.

        Raises:
            HomeError: If the run directory can't be written.
        """
        if address in self._news:
            self._news[address] = news
            return
        self._news[address] = news
        try:
            while (wanted := self._news[address]) is not None and address in self._carriers:
                self._news[address] = None
                await self._carriers[address].follow(*wanted)
        finally:
            del self._news[address]

    async def bring_home(self, address: str) -> Mapping[str, str]:
        """Bring home all that isn't; see `AbstractCarrier`."""
        return await self._carriers[address].bring_home()

    # ---- the end ----

    def note_quiet(self, address: str) -> None:
        """Note that nothing runs on a slot any more."""
        if address in self._quiet:
            self._quiet[address].set()

    async def bring_last(self, address: str) -> None:
        """Bring home what the attempt of a slot has left when the run was broken off."""
        if address in self._carriers:
            self._carriers[address].hurry()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._quiet[address].wait(), _QUIET_S)
        if address in self._carriers:
            # Whatever fails: the trial goes on from what is at home.
            with contextlib.suppress(Exception):
                await self.bring_home(address)

    def close(self) -> None:
        """Remove what has not come whole."""
        shutil.rmtree(self._run_dir.arriving, ignore_errors=True)
