"""How many workers a run wants of a cluster that it has started: what is decided is pure, `Demand`."""

from __future__ import annotations

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from inspect import isawaitable
from typing import Any, final

import dask
from dask.utils import parse_timedelta
from distributed import SpecCluster

from dotrain.errors import ResourcesUnavailable
from dotrain.executors.bookings import Load

#: How often it is looked whether workers are missing or needless, in seconds.
_LOOK_S = 1.0
#: How long a worker may have nothing to do before it is let go, in seconds.
IDLE_S = 10.0
#: How long nothing more is asked of a cluster that has just refused, in seconds.
_AGAIN_S = 30.0


@final
class Demand:
    """Whether more workers would have something to do, as far as can be told from the load.

    Who leaves a slot free has nothing for it; that may change when an attempt ends, and not before.
    """

    def __init__(self, idle_s: float = IDLE_S) -> None:
        """Make it.

        Args:
            idle_s: How long a worker may have nothing to do, in seconds.
        """
        self._idle_s = idle_s
        self._idle_since: dict[str, float] = {}
        #: How many attempts had ended when a slot was last left free.
        self._sated = -1

    def look(self, load: Load, now_s: float) -> tuple[bool, set[str]]:
        """Return whether more workers are wanted, and which aren't needed.

        Args:
            load: As it is now.
            now_s: The time, in seconds.
        """
        self._idle_since = {name: self._idle_since.get(name, now_s) for name in load.idle}
        long = {name for name, at in self._idle_since.items() if now_s - at >= self._idle_s}
        needless = set() if load.waits else long
        if needless:
            self._sated = load.ended
        is_full = not (load.idle or load.has_room)
        return load.waits or (is_full and load.ended > self._sated), needless


class AbstractSize(ABC):
    """The size of a cluster, in workers."""

    @abstractmethod
    def requested(self) -> int:
        """Return how many workers it has, or is to have."""

    @abstractmethod
    async def grow(self, workers: int) -> None:
        """Ask for so many in all; whatever the cluster has against it is raised."""

    @abstractmethod
    async def shrink(self, names: Collection[str], least: int) -> None:
        """Let workers go, by name, if that can be done without hurting others."""

    async def replace_lost(self) -> None:  # noqa: B027
        """Ask for others in the place of those that have come and gone."""


@final
class SpecSize(AbstractSize):
    """Of a cluster whose parts have names, and are what its driver knows of: jobs, machines, processes."""

    def __init__(self, cluster: SpecCluster, now_s: Callable[[], float]) -> None:
        """Make it.

        Args:
            cluster: Started.
            now_s: Tells the time, in seconds.
        """
        self._cluster = cluster
        self._now_s = now_s
        self._lost_s = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
        #: Parts of which a worker has come, and when the last has been seen.
        self._seen_s: dict[Any, float] = {}

    def _workers(self) -> dict[Any, set[str]]:
        """Return the names of the workers of each part."""
        return {
            name: {f"{name}{suffix}" for suffix in spec.get("group", ("",))}
            for name, spec in self._cluster.worker_spec.items()
        }

    def requested(self) -> int:
        """Return the number of workers of all parts."""
        return sum(map(len, self._workers().values()))

    async def grow(self, workers: int) -> None:
        """Ask for parts, and wait until they are on their way."""
        self._cluster.scale(workers)
        await self._cluster

    async def shrink(self, names: Collection[str], least: int) -> None:
        """Let those parts go of which no worker is needed."""
        left = self.requested()
        gone = []
        for name, workers in self._workers().items():
            if workers <= {*names} and left - len(workers) >= least:
                gone.append(name)
                left -= len(workers)
        if gone:
            await self._cluster.scale_down(gone)

    async def replace_lost(self) -> None:
        """Ask for others; Dask gives up a part itself some time after its one worker is lost."""
        if set(self._cluster.worker_spec) - set(self._cluster.workers):
            await self._cluster
        if lost := self._lost_of_several():
            wanted = self.requested()
            await self._cluster.scale_down(lost)
            await self.grow(wanted)

    def _lost_of_several(self) -> list[Any]:
        """Return parts of several workers of which none is left; those Dask doesn't give up."""
        here = {str(info["name"]) for info in self._cluster.scheduler_info["workers"].values()}
        now_s, parts = self._now_s(), self._workers()
        for name, workers in parts.items():
            if len(workers) > 1 and workers & here:
                self._seen_s[name] = now_s
        lost = [n for n, at in self._seen_s.items() if n in parts and now_s - at > self._lost_s]
        self._seen_s = {n: at for n, at in self._seen_s.items() if n in parts and n not in lost}
        return lost


@final
class WholeSize(AbstractSize):
    """Of any other cluster: which workers go when it shrinks, only it knows."""

    def __init__(self, cluster: Any, requested: int = 0) -> None:
        """Make it.

        Args:
            cluster: Started.
            requested: How many workers it has begun with.
        """
        self._cluster = cluster
        self._requested = requested

    def requested(self) -> int:
        """Return what was last asked for."""
        return self._requested

    async def grow(self, workers: int) -> None:
        """Ask for so many."""
        self._requested = workers
        if isawaitable(found := self._cluster.scale(workers)):
            await found

    async def shrink(self, names: Collection[str], least: int) -> None:
        """Let all go but the least if none is needed: it might take one that is."""
        if len(names) >= self._requested > least:
            await self.grow(least)


async def keep(
    size: AbstractSize,
    least: int,
    most: int,
    per_trial: int,
    load: Callable[[], Load],
    say: Callable[[str], None],
) -> None:
    """See to it that a cluster has the workers that are wanted; until cancelled.

    Args:
        size: The cluster's.
        least: The fewest workers.
        most: The most.
        per_trial: How many slots one trial takes.
        load: What the slots do now.
        say: Tells people.

    Raises:
        ResourcesUnavailable: If the cluster refuses the first.
    """
    loop = asyncio.get_running_loop()
    demand, has_grown, paused_s = Demand(), False, 0.0
    while True:
        try:
            if loop.time() >= paused_s:
                now = load()
                useful = useful_workers(least, most, per_trial, now.per_worker)
                await _look(size, least, useful, demand, now, loop.time())
                has_grown = True
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            if not has_grown:
                raise ResourcesUnavailable(f"the cluster gives no workers: {why}") from error
            say(f"the cluster gives no more workers: {why}; it is asked again")
            paused_s = loop.time() + _AGAIN_S
        await asyncio.sleep(_LOOK_S)


def useful_workers(least: int, most: int, per_trial: int, per_worker: int | None) -> int:
    """Return how many workers are of use: on another one no trial more would have room.

    Args:
        least: The fewest workers.
        most: The most.
        per_trial: How many slots one trial takes.
        per_worker: How many each worker has; None while nobody knows.
    """
    if per_worker is None:
        return most
    slots = most * per_worker // per_trial * per_trial
    return max(least, math.ceil(slots / per_worker))


async def _look(
    size: AbstractSize, least: int, most: int, demand: Demand, load: Load, now_s: float
) -> None:
    await size.replace_lost()
    more, needless = demand.look(load, now_s)
    wanted = most if more else least
    if size.requested() < wanted:
        await size.grow(wanted)
    elif needless and size.requested() > least:
        await size.shrink(needless, least)


def size_of(cluster: Any, now_s: Callable[[], float]) -> AbstractSize:
    """Return the size of a cluster that has been started.

    Args:
        cluster: It.
        now_s: Tells the time, in seconds.
    """
    return SpecSize(cluster, now_s) if isinstance(cluster, SpecCluster) else WholeSize(cluster)
