"""The slots of a Dask cluster: one on each worker.

Everything here runs on the event loop of the connection, and only there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from distributed import Client
from distributed.comm import get_address_host

from dotrain.core.events import Event
from dotrain.executors.bookings import Slot
from dotrain.executors.dask.wire import Wire
from dotrain.executors.group import Group
from dotrain.executors.table import AbstractSlotTable
from dotrain.training.environment import Sealed
from dotrain.training.program import Program


class SlotTable(AbstractSlotTable):
    """Every slot of a run on a cluster.

    Attributes:
        enough: Set while there are at least as many slots as one trial takes.
    """

    def __init__(
        self,
        client: Client,
        program: Program,
        post: Callable[[Event], None],
        *,
        per_trial: int,
        max_slots: int | None,
    ) -> None:
        """Make an empty table.

        Args:
            client: Connected.
            program: What every attempt runs.
            post: Where events go.
            per_trial: How many slots a trial takes.
            max_slots: The most slots to open; None is all.
        """
        super().__init__(post)
        self._wire = Wire(client, program.token)
        self._environment = Sealed.of(program.environment)
        self._needed = per_trial
        self._max_slots = max_slots
        self._tasks: set[asyncio.Task[Any]] = set()
        #: No slot is opened or missed any more.
        self._closing = False
        self.enough = asyncio.Event()

    # ---- slots come and go ----

    async def open(self) -> None:
        """Listen to the workers, and open a slot on each."""
        self._wire.listen(self._on_message, self._on_cluster_event)
        for address in await self._wire.workers():
            self._add(address)

    def _add(self, address: str) -> None:
        full = self._max_slots is not None and len(self._slots) >= self._max_slots
        if address in self._slots or full or self._closing:
            return
        slot = self._slots[address] = Slot(address, str(get_address_host(address)))
        self._wire.hold(address, partial(self._on_task_done, slot))

    def _on_task_done(self, slot: Slot, status: str) -> None:
        """Open a slot anew if its task has ended though nobody told it to."""
        if self._slots.get(slot.address) is slot and not self._closing:
            self._remove(slot.address, f"its slot's task ended ({status})")
            self._spawn(self._add_if_there(slot.address))

    def _remove(self, address: str, cause: str = "") -> None:
        slot = self._slots.pop(address, None)
        if slot is None:
            return
        self._wire.release(address)
        if slot.group is not None:
            cause = cause or f"its worker {slot.name} ({slot.address}) left the cluster"
            slot.group.gone(slot.address, cause)
            self._go_on(slot.group)
            self._changed()
        elif slot.ready:
            self._changed()

    def _changed(self, why: str | None = None) -> None:
        if self.ready < self._needed:
            self.enough.clear()
        else:
            self.enough.set()
        super()._changed(why)

    def _on_cluster_event(self, event: tuple[float, Any]) -> None:
        if self._closing:
            return  # the client knows no workers any more
        message = event[1]
        action = message.get("action") if isinstance(message, dict) else None
        if action == "add-worker":
            self._add(message["worker"])
        elif action == "remove-worker":
            self._remove(message["worker"])
            for address in self._wire.known_workers():
                if address != message["worker"]:
                    self._add(address)

    def _on_message(self, event: tuple[float, Any]) -> None:
        message = event[1]
        slot = self._slots.get(message["slot"])
        if slot is None:
            return
        if "wants" in message:
            self._tell([slot.address], "take", self._environment)
        if "ready" in message:
            slot.name = message["ready"]
            self._bookings.admit(slot)
            self._changed()
            self._launch_pending()
        self.take(slot, message.get("items", ()))

    # ---- what is said to them ----

    def _launch(self, group: Group) -> None:
        self._spawn(self._start(group))

    async def _start(self, group: Group) -> None:
        try:
            failed = await self._wire.launch(group)
        except Exception as error:
            for address in group.addresses:
                if address in self._slots and not await self._wire.reaches(address):
                    self._unreachable(address, error)
                if (slot := self._slots.get(address)) is not None:
                    group.never_began(address)
                    self._free(slot)
            self._go_on(group)
            return
        for address, why in failed.items():
            self._unreachable(address, why)

    def _tell(self, addresses: Sequence[str], method: str, *arguments: Any) -> None:
        self._spawn(self._send(addresses, method, *arguments))

    async def _send(self, addresses: Sequence[str], method: str, *arguments: Any) -> None:
        here = [address for address in addresses if address in self._slots]
        failed = await self._wire.tell(here, method, *arguments) if here else {}
        for address, error in failed.items():
            self._unreachable(address, error)

    def _unreachable(self, address: str, error: Exception) -> None:
        """Close a slot that can't be reached: Dask is about to notice, or it is opened anew."""
        if address in self._slots:
            self._remove(address, f"its worker can't be reached: {error}")
            self._spawn(self._add_if_there(address))

    async def _add_if_there(self, address: str) -> None:
        if address in await self._wire.workers():
            self._add(address)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, call)

    # ---- the end ----

    async def let_go(self) -> None:
        """Let the slots end, and whatever runs there.

        Call `close` after it, in any case.
        """
        self._closing = True
        await self._wire.let_go(self._slots)

    def close(self) -> None:
        """Give up whatever is under way."""
        self._closing = True
        for task in self._tasks:
            task.cancel()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
