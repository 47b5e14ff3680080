"""How the files of a slot's trials come home, and how what is at home comes to the slot.

The driver's side. A carrier is asked before a rank begins, while it runs, and when nothing of it is left.
Workers that see the run directory need none.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, final

from dotrain.store import RunDir
from dotrain.store.disk import FULL
from dotrain.store.files import (
    PIECE_BYTES,
    Entries,
    Listing,
    Piece,
    Plan,
    Stamp,
    as_known,
    is_below,
    make_plan,
    pieces_of,
    turned,
)
from dotrain.store.folder import Folder
from dotrain.store.run_dir import CHECKPOINT

#: How many pieces may be under way at once, whatever the number of workers: what bounds the memory.
_PIECES_AT_ONCE = 2
#: How often a file is read again that has changed while it was read, though nothing runs any more.
_TIMES = 3

#: Whether what is being done is still wanted.
Wanted = Callable[[], bool]


#: Calls a method of `Folder` by name, for one trial, here or on a worker.
Ask = Callable[..., Awaitable[Any]]


class HomeError(Exception):
    """The run directory can't be read or written; `error` says why."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error

    @property
    def is_full(self) -> bool:
        """Whether there is no room."""
        return self.error.errno in FULL


class FilesLost(Exception):
    """Files of a trial can't come home, or not get to a worker, though both are there."""


class NoRoom(FilesLost):
    """The worker's disk has no room for them."""


@final
class Pieces:
    """Bounds how much is under way at once, of all slots: what is held in memory.

    Attributes:
        count: How many have arrived so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._free = asyncio.Semaphore(_PIECES_AT_ONCE)

    async def __aenter__(self) -> None:
        """Wait until there is room for one."""
        await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        """Make room for another."""
        self.count += 1
        self._free.release()


def at_home(folder: Folder) -> Ask:
    """Return what calls the methods of a folder here; the loop doesn't wait for the disk."""

    async def ask(method: str, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(getattr(folder, method), *arguments)
        except OSError as error:
            raise HomeError(error) from error

    return ask


async def copy(
    source: Ask, target: Ask, plan: Plan, pieces: Pieces, wanted: Wanted
) -> tuple[Entries, list[str]]:
    """Copy what a plan says, and commit it; for the answer see `Folder.commit`.

    Args:
        source: Where files are.
        target: Where they are to be.
        plan: What to copy.
        pieces: Bounds what is under way.
        wanted: Whether it is still wanted; if not, nothing is committed.
    """
    sizes = {path: stamp.size for path, stamp in plan.files.items()}
    gone: set[str] = set()
    for batch in pieces_of(sizes):
        if not wanted():
            return {}, list(sizes)
        there = [piece for piece in batch if piece.path not in gone]
        async with pieces:
            found = await source("read", there)
            parts = [
                (p.path, p.offset, d) for p, d in zip(there, found, strict=True) if d is not None
            ]
            gone.update(p.path for p, d in zip(there, found, strict=True) if d is None)
            await target("write", parts)
            del found, parts
    digests = await source("digests", sizes) if sizes else {}
    answer: tuple[Entries, list[str]] = await target("commit", plan, digests)
    return answer


@final
class Logs:
    """Brings what a rank prints home, piece by piece, as it grows."""

    def __init__(self, home: Ask, there: Ask, pieces: Pieces) -> None:
        """Make it for an attempt.

        Args:
            home: Calls a method of the trial's folder in the run directory.
            there: The same on the worker.
            pieces: Bounds what is under way.
        """
        self._home, self._there, self._pieces = home, there, pieces
        self.name = ""
        #: Where the log begins in the one at home, and how much of it is there.
        self._from = self._done = 0

    def begin(self, name: str, at_home: Listing) -> None:
        """Note which log it is, and how long the one at home is by now."""
        self.name, self._from, self._done = name, at_home.logs.get(name, 0), 0

    async def bring(self, size: int | None) -> None:
        """Bring all that there is.

        Args:
            size: How long the log is on the worker; None if there is none.
        """
        if size is None:
            return
        if size == 0:  # messages name it all the same
            await self._home("append", self.name, self._from, b"")
        while self._done < size:
            length = min(PIECE_BYTES, size - self._done)
            async with self._pieces:
                (data,) = await self._there("read", [Piece(self.name, self._done, length)])
                if data is None:
                    return
                await self._home("append", self.name, self._from + self._done, data)
            self._done += length


class AbstractCarrier(ABC):
    """Brings the files of one slot's trials home: when, and what of it, is the same whichever way they go."""

    def __init__(self, run_dir: RunDir, ask: Ask, pieces: Pieces) -> None:
        """Make it for a slot.

        Args:
            run_dir: At home.
            ask: Calls a method of the worker's `Scratch` by name, for a trial.
            pieces: Bounds what is under way.
        """
        self._run_dir = run_dir
        self._ask = ask
        self._pieces = pieces
        #: One thing at a time: what is alike must stay known.
        self._lock = asyncio.Lock()
        self._trial_id = ""
        self._rank = 0
        #: Whether what is there has grown out of what is kept: else it must not come back.
        self._is_out = False
        #: The newest checkpoint that has come.
        self._checkpoint: str | None = None

    async def _there(self, method: str, *arguments: Any) -> Any:
        return await self._ask(method, self._trial_id, *arguments)

    async def hand_out(self, trial_id: str, rank: int, wanted: Wanted) -> None:
        """Give a slot what an attempt may go on from, before a rank begins there.

        Args:
            trial_id: The trial.
            rank: Which of its ranks.
            wanted: Whether it is still to begin.

        Raises:
            HomeError: If the run directory can't be read.
            FilesLost: If the worker can't take it.
            Exception: If the worker has gone.
        """
        async with self._lock:
            self._is_out = False
            self._trial_id, self._rank, self._checkpoint = trial_id, rank, None
            staging = self._run_dir.arriving / trial_id
            self._home = at_home(Folder(self._run_dir.trial_dir(trial_id), staging))
            self._logs = Logs(self._home, self._there, self._pieces)
            home: Listing = await self._home("listing")
            self._logs.begin(self._run_dir.trial_log(trial_id, rank).name, home)
            await self._send(home, await self._there("begin"), wanted)
            self._is_out = wanted()

    async def follow(self, log_bytes: int, checkpoint: str | None) -> None:
        """Bring home what is new, while a rank runs: with each new checkpoint all that lies beside it.

        Args:
            log_bytes: How long its log is by now.
            checkpoint: The name of its newest checkpoint.

        Raises:
            HomeError: If the run directory can't be written.
            Exception: If the worker has gone.
        """
        async with self._lock:
            if not self._is_out:
                return
            await self._logs.bring(log_bytes or None)
            if self._rank != 0 or checkpoint in (None, self._checkpoint):
                return
            if await self._bring_new():
                self._checkpoint = checkpoint

    async def bring_home(self) -> Mapping[str, str]:
        """Bring home all that isn't, now that nothing of the rank is left.

        Returns:
            What stays where it is, by path, each with why.

        Raises:
            HomeError: If the run directory can't be written.
            FilesLost: If a file can't be read.
            Exception: If the worker has gone.
        """
        async with self._lock:
            if not self._is_out:
                return {}
            there: Listing = await self._there("listing")
            await self._logs.bring(there.logs.get(self._logs.name))
            return await self._bring_last(there) if self._rank == 0 else {}

    @abstractmethod
    async def _send(self, home: Listing, there: Listing, wanted: Wanted) -> None:
        """Let the slot have what the rank goes on from; see `hand_out`.

        Args:
            home: What is in the run directory.
            there: What is on the worker.
            wanted: Whether the rank is still to begin.
        """

    @abstractmethod
    async def _bring_new(self) -> bool:
        """Bring all files while they may still be written; return whether that was all of them."""

    @abstractmethod
    async def _bring_last(self, there: Listing) -> Mapping[str, str]:
        """Bring all files, now that nothing writes; see `bring_home`.

        Args:
            there: What is on the worker.
        """

    def drop(self) -> None:  # noqa: B027
        """Note that the worker has gone: what it still says doesn't count."""

    def hurry(self) -> None:  # noqa: B027
        """Note that the run ends."""


@final
class ThroughDotrain(AbstractCarrier):
    """Files go over Dask's own connections, in pieces."""

    def __init__(self, run_dir: RunDir, ask: Ask, pieces: Pieces) -> None:
        """As of `AbstractCarrier`."""
        super().__init__(run_dir, ask, pieces)
        #: Of which trial what is alike here and there.
        self._known_of = ""
        self._known: dict[str, tuple[Stamp | None, Stamp | None]] = {}

    async def _send(self, home: Listing, there: Listing, wanted: Wanted) -> None:
        """As of `AbstractCarrier`: what is there unchanged stays there."""
        if self._known_of != self._trial_id:
            self._known_of, self._known = self._trial_id, {}
        plan = make_plan(home.entries, there.entries, self._known, in_scope=self._is_handed_out)
        if not plan:
            return
        copied, wrong = await copy(self._home, self._there, plan, self._pieces, wanted)
        if wrong and wanted():
            raise FilesLost(f"{wrong[0]} has changed while it was sent")
        self._known.update({path: (home.entries[path], copied[path]) for path in copied})
        self._forget(plan, wrong)

    def _is_handed_out(self, path: str) -> bool:
        return self._rank == 0 or path.split("/")[0] == CHECKPOINT

    async def _bring_new(self) -> bool:
        return not await self._bring(await self._there("listing"), running=True)

    async def _bring_last(self, there: Listing) -> Mapping[str, str]:
        for _ in range(_TIMES):
            wrong = await self._bring(there, running=False)
            if not wrong:
                return there.skipped
            there = await self._there("listing")
        raise FilesLost(f"{wrong[0]} is another one each time it is read")

    async def _bring(self, there: Listing, *, running: bool) -> list[str]:
        """Make home like there; return what has changed meanwhile, and has not come."""
        home: Listing = await self._home("listing")
        plan = make_plan(
            there.entries,
            home.entries,
            turned(self._known),
            only_changes=True,
            in_scope=lambda path: not any(is_below(path, skipped) for skipped in there.skipped),
        )
        if not plan:
            return []
        await self._home("drop_partial")  # of a copy that broke off, from whatever worker
        copied, wrong = await copy(self._there, self._home, plan, self._pieces, lambda: True)
        for path, stamp in copied.items():
            self._known[path] = stamp, as_known(path, there, running=running)
        self._forget(plan, wrong)
        return wrong

    def _forget(self, plan: Plan, wrong: list[str]) -> None:
        """Note what has been removed: nothing, if anything has not come."""
        for path in () if wrong else plan.removed:
            self._known.pop(path, None)
