"""The workers of a run: they come and go, and their slots with them.

Everything here runs on the event loop of the connection, and only there.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from distributed.comm import get_address_host

from dotrain.core.events import Event
from dotrain.executors.bookings import Load, Slot
from dotrain.executors.dask.admission import Admission, Worker
from dotrain.executors.dask.carrier import HomeError
from dotrain.executors.dask.names import slot_of
from dotrain.executors.dask.site import Way
from dotrain.executors.dask.wire import Wire
from dotrain.executors.dealing import Dealing, Offer, Wish
from dotrain.executors.table import AbstractSlotTable
from dotrain.results.text import count_text

#: When workers are counted once more after the start, in seconds.
_SOON_S = 1.0
#: How long after workers have come it is said what of them lies idle, in seconds: others may come for it.
_IDLE_S = 5.0


class AbstractWorkerTable(AbstractSlotTable):
    """Every worker of a run, and its slots.

    Attributes:
        enough: Set while there are at least as many slots as one trial takes.
        admission: Which workers are used.
    """

    def __init__(
        self,
        post: Callable[[Event], None],
        wire: Wire,
        admission: Admission,
        *,
        wish: Wish,
        per_trial: int,
        max_workers: int | None,
    ) -> None:
        """Make an empty table.

        Args:
            post: Where events go.
            wire: To the workers.
            admission: Lets them in.
            wish: What the run wants of workers.
            per_trial: How many slots a trial takes.
            max_workers: The most workers to use; None is all.
        """
        super().__init__(post)
        self._wire = wire
        self.admission = admission
        self._workers: dict[str, Worker] = {}
        self._wish = wish
        self._dealing = Dealing(wish) if wish.counts else None
        self._needed = per_trial
        self._max_workers = max_workers
        self._said: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        #: No slot is opened or missed any more.
        self._closing = False
        self.enough = asyncio.Event()

    # ---- what a subclass does ----

    @abstractmethod
    def _on_message(self, event: tuple[float, Any]) -> None:
        """Take in what a worker has to say."""

    @abstractmethod
    def _opened(self, slot: Slot, way: Way) -> None:
        """Note that there is a slot, not yet ready, and which way its files go."""

    @abstractmethod
    def _dropped(self, slot: Slot, cause: str) -> None:
        """Note that a slot has gone, and why."""

    @abstractmethod
    def _home_broke(self, broke: HomeError) -> None:
        """End the run: nothing that trials have done can be kept."""

    # ---- workers come ----

    async def open(self) -> None:
        """Listen to the workers, and let them in."""
        self._wire.listen(self._on_message, self._on_cluster_event)
        self._add(await self._wire.workers())
        # One may have come after they were counted, and before we were told of such.
        self._later(_SOON_S, self._add_all)

    def _add_all(self) -> None:
        self._spawn(self._add_if_there())

    def _add(self, addresses: Iterable[str]) -> None:
        if new := self._new_workers(addresses):
            self._spawn(self._ask(new))

    def _new_workers(self, addresses: Iterable[str]) -> list[Worker]:
        """Note workers that are new and aren't refused, as many as are to be used; return them."""
        new: list[Worker] = []
        used = sum(not worker.is_in or bool(worker.slots) for worker in self._workers.values())
        for address in addresses:
            full = self._max_workers is not None and used + len(new) >= self._max_workers
            known = address in self._workers or address in self.admission.refused
            if full or self._closing or known:
                continue
            self._workers[address] = worker = Worker(address, str(get_address_host(address)))
            new.append(worker)
        return new

    async def _ask(self, new: Sequence[Worker]) -> None:
        """Open the slots of those workers whose place will do, and say which way their files go."""
        try:
            ways = await self.admission.ask(new)
        except HomeError as error:
            return self._home_broke(error)
        there = [one for one in new if self._workers.get(one.address) is one and not self._closing]
        self._deal({w.address: w.offer for w in there if w.offer and ways[w.address] is not None})
        for worker in there:
            way = ways[worker.address]
            if way is not None:
                self._open(worker, way)
            elif worker.address in self.admission.silent:  # then it is asked alone
                self._open_anew([worker.address])
            else:
                self._remove(worker.address)
        if any(w.address in self.admission.refused or (w.is_in and not w.slots) for w in new):
            self._add(self._wire.known_workers())  # there may be others in their place
        self._reconsider()
        if self._dealing is not None:
            for line in (*self._with_slots(there), *self._without_slots()):
                self._say_once(line)
            self._later(_IDLE_S, self._say_what_is_idle)

    def _deal(self, offers: Mapping[str, Offer]) -> None:
        if self._dealing is not None:
            self._dealing.join(offers)

    def _open(self, worker: Worker, way: Way) -> None:
        """Open the slots of a worker; one for which there is no room is this run's all the same."""
        seen = [None] if self._dealing is None else self._dealing.visible(worker.address)
        worker.is_in = True
        worker.slots = [slot_of(worker.address, index) for index in range(len(seen))]
        for name in worker.slots:
            self._slots[name] = slot = Slot(name, worker.host, worker=worker.address)
            self._opened(slot, way)
        is_carried = way is not Way.SHARED
        self._wire.hold(worker.address, is_carried, seen, partial(self._on_task_done, worker))

    def _ready(self, worker: Worker, name: str) -> None:
        """Note that a worker takes ranks on its slots."""
        worker.name = name
        self.admission.took(worker.address)
        for each in worker.slots:
            self._slots[each].name = name
            self._bookings.admit(self._slots[each])
        if worker.slots:
            self._changed()
            self._launch_pending()

    # ---- and go ----

    def _on_task_done(self, worker: Worker, status: str) -> None:
        """Open the slots of a worker anew if its task has ended though nobody told it to."""
        if self._workers.get(worker.address) is worker and not (
            self._closing or self._is_leaving(worker)
        ):
            self._open_anew([worker.address], f"its slot's task ended ({status})")

    def _is_leaving(self, worker: Worker) -> bool:
        return any(self._slots[name].leaves for name in worker.slots if name in self._slots)

    def _remove(self, address: str, cause: str = "") -> None:
        worker = self._workers.pop(address, None)
        if worker is None:
            return
        self._wire.release(address)
        if self._dealing is not None:
            self._dealing.leave(address)
        # What waits is to get none of them.
        slots = [self._slots.pop(name) for name in worker.slots]
        for slot in slots:
            self._dropped(
                slot, cause or slot.why_gone or f"its worker {slot.place} left the cluster"
            )
        if any(slot.ready for slot in slots):
            self._changed()

    def _reconsider(self) -> None:
        """Open slots on workers for which there was no room, and is now."""
        if self._dealing is not None and not self._closing:
            self._open_anew(self._dealing.waiting())

    def _open_anew(self, addresses: Sequence[str], cause: str = "") -> None:
        if known := [address for address in addresses if address in self._workers]:
            for address in known:
                self._remove(address, cause)
            self._spawn(self._add_if_there(*known))

    async def _add_if_there(self, *addresses: str) -> None:
        there = () if self._closing else await self._wire.workers()
        self._add(one for one in there if one in addresses or not addresses)

    def _on_cluster_event(self, event: tuple[float, Any]) -> None:
        if self._closing:
            return  # the client knows no workers any more
        message = event[1]
        action = message.get("action") if isinstance(message, dict) else None
        if action == "add-worker":
            self._add([message["worker"]])
        elif action == "remove-worker":
            self._remove(message["worker"])
            self.admission.gone(message["worker"])
            self._add(a for a in self._wire.known_workers() if a != message["worker"])
            self._reconsider()

    def _changed(self, why: str | None = None) -> None:
        (self.enough.clear if self.ready < self._needed else self.enough.set)()
        super()._changed(why)

    # ---- what people and the size of the cluster should know ----

    def load(self) -> Load:
        """Return what the slots do now; how many a worker has is known when one has some."""
        load = super().load()
        is_known = self._dealing is None or self.ready
        return load if is_known else replace(load, per_worker=None)

    def waits_for(self) -> list[str]:
        """Return in lines why workers can't be used, or not yet."""
        return [*self.admission.waits_for(), *self._without_slots()]

    def _with_slots(self, workers: Iterable[Worker]) -> list[str]:
        slots, count = Counter[str](), Counter[str]()
        for worker in workers:
            slots[worker.host] += len(worker.slots)
            count[worker.host] += bool(worker.slots)
        parts = [f"{h}: {slots[h]} on {count_text(count[h], 'worker')}" for h in +slots]
        each = f"each with {self._wish.needs} (resources)"
        return [f"slots: {', '.join(parts)}; {each}"] if parts else []

    def _without_slots(self) -> list[str]:
        why = f"what it sees there is dealt to others, {self._wish.needs} each (resources)"
        return [
            f"worker {worker.address} on {worker.host} has no slot for now: {why}"
            for worker in self._workers.values()
            if worker.is_in and not worker.slots
        ]

    def _say_what_is_idle(self) -> None:
        """Say which GPUs have no rank because their workers have too little else."""
        if self._dealing is None or self._closing:
            return
        told: set[str] = set()
        for worker in self._workers.values():
            idle = self._dealing.idle_gpus(worker.address)
            if idle and worker.host not in told:
                told.add(worker.host)
                self._say_once(
                    f"GPUs {', '.join(idle)} on {worker.host} lie idle, in whole or in part: worker "
                    f"{worker.address} has too few threads or too little memory for more than "
                    f"{count_text(len(worker.slots), 'slot')}; give it more (--nthreads, --memory-limit), or "
                    "start more workers there"
                )

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._changed(text)

    # ---- for all of that ----

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, call)

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
