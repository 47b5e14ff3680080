"""The table of slots: they come and go, groups of ranks run on them.

Everything here runs on the event loop of the connection, and only there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from distributed import Client
from distributed.comm import get_address_host

from dotrain.core.events import Event, SlotsChanged, TrialEvent, from_record
from dotrain.core.instructions import Finish, Instruction, Kill, Launch, Stop
from dotrain.core.strategy import AbstractStrategy
from dotrain.executors.bookings import Bookings, Slot
from dotrain.executors.dask.local_workers import LocalWorkers
from dotrain.executors.dask.wire import Wire
from dotrain.executors.group import Group
from dotrain.training.program import Program

#: How long the other ranks of an attempt may take when one has come to its end, in seconds.
_ENDING_S = 5.0


class SlotTable:
    """Every slot of a run, and what runs on it.

    Attributes:
        enough: Set while there are at least as many slots as one trial takes.
        hopeless: Set when every local worker has died before any got ready.
    """

    def __init__(
        self,
        client: Client,
        program: Program,
        post: Callable[[Event], None],
        *,
        strategy: AbstractStrategy,
        max_slots: int | None,
        workers: LocalWorkers | None,
    ) -> None:
        """Make an empty table.

        Args:
            client: Connected.
            program: What every attempt runs.
            post: Where events go.
            strategy: Says how many slots a trial takes, and whether in processes of their own.
            max_slots: The most slots to open; None is all.
            workers: The local worker processes, if they are ours.
        """
        self._wire = Wire(client, program.token)
        self._post = post
        self._needed = strategy.slots
        self._own_process = strategy.own_process
        self._max_slots = max_slots
        self._workers = workers
        self._bookings = Bookings()
        self._slots = self._bookings.slots
        #: What ended local workers, by name, until their slot is found gone.
        self._deaths: dict[str, str] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        #: No slot is opened or missed any more.
        self._closing = False
        self.enough = asyncio.Event()
        self.hopeless = asyncio.Event()

    @property
    def ready(self) -> int:
        """How many slots are ready, busy ones included."""
        return self._bookings.ready

    @property
    def deaths(self) -> dict[str, str]:
        """What ended local workers that have not come back, by name."""
        return self._deaths

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
        if self._workers is not None and slot.name and not self._closing:
            # If only its connection is gone, a new process must take its place.
            self._workers.kill(slot.name)
        if slot.group is not None:
            self._spawn(self._on_loss(slot, slot.group, cause))
        elif slot.ready:
            self._changed()

    async def _on_loss(self, slot: Slot, group: Group, cause: str) -> None:
        cause = cause or f"its worker {slot.name} ({slot.address}) left the cluster"
        if self._workers is not None:
            # The exit code may come a moment after Dask has noticed the broken connection.
            for _ in range(20):
                if slot.name in self._deaths:
                    cause = self._deaths.pop(slot.name)
                    break
                await asyncio.sleep(0.05)
        group.gone(slot.address, cause)
        self._go_on(group)
        self._changed()

    def _changed(self, why: str | None = None) -> None:
        if self.ready >= self._needed:
            self.enough.set()
        self._post(SlotsChanged(self.ready, why))

    def on_death(self, name: str, cause: str) -> None:
        """Note that a local worker's process has ended."""
        self._deaths[name] = cause
        workers = self._workers.names if self._workers else []
        if not self.enough.is_set() and all(worker in self._deaths for worker in workers):
            self.hopeless.set()

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

    # ---- what workers tell ----

    def _on_message(self, event: tuple[float, Any]) -> None:
        message = event[1]
        slot = self._slots.get(message["slot"])
        if slot is None:
            return
        if "ready" in message:
            slot.name = message["ready"]
            self._deaths.pop(slot.name, None)
            self._bookings.admit(slot)
            self._changed()
        touched = {}
        for token, item in message.get("items", ()):
            group = self._bookings.groups.get(token)
            if group is None:
                continue
            if "event" in item:
                self._post(from_record(item["event"]))
                continue
            touched[token] = group
            if "end" in item:
                ended = from_record(item["end"])
                assert isinstance(ended, TrialEvent)
                group.ended(slot.address, ended)
            else:
                group.gone(slot.address, item["gone"])
                self._free(slot)
        for group in touched.values():
            self._go_on(group)
        self._launch_pending()

    def _free(self, slot: Slot) -> None:
        if self._bookings.free(slot):
            self._changed()

    # ---- groups begin and end ----

    def carry_out(self, instruction: Instruction) -> None:
        """Begin to do what an instruction says."""
        match instruction:
            case Launch():
                self._bookings.ask(instruction)
                self._launch_pending()
            case Stop():
                self._stop(self._bookings.group_of(*_named(instruction)), instruction.reason)
            case Kill(timeout=True):
                self._kill(instruction)
            case Finish() if self._workers is not None:
                self._workers.restart = False

    def _launch_pending(self) -> None:
        for group in self._bookings.book(self._now_s()):
            self._spawn(self._start(group))

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

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

    def _go_on(self, group: Group) -> None:
        """Do what the state of a group asks for."""
        if group.is_over:
            self._over(group)
        elif to_end := group.to_end():
            self._spawn(self._send(to_end, "kill", group.token))
        elif group.is_ending and not group.hurried:
            group.hurried = True
            asyncio.get_running_loop().call_later(_ENDING_S, self._hurry, group)

    def _hurry(self, group: Group) -> None:
        if group.token in self._bookings.groups:
            group.time_is_up()
            self._go_on(group)

    def _over(self, group: Group) -> None:
        outcome = self._bookings.conclude(group)
        if outcome is not None:
            self._post(outcome)
            if why := self._bookings.judge(group, outcome, self._now_s()):
                self._changed(why)
        self._launch_pending()

    def _stop(self, group: Group | None, reason: str) -> None:
        if group is not None:
            self._spawn(self._send(group.addresses, "stop", group.token, reason))

    def _kill(self, instruction: Kill) -> None:
        group = self._bookings.withdraw(*_named(instruction))
        if group is None:
            return
        if self._own_process:
            self._go_on(group)
            return
        slot = self._slots.get(group.addresses[0])
        if slot is None:
            return
        if self._workers is not None:
            self._workers.kill(slot.name)
        else:
            # A worker that isn't ours is restarted by its nanny; without one, the function ends
            # at its next report.
            self._stop(group, instruction.reason)
            self._spawn(self._restart(slot))

    async def _restart(self, slot: Slot) -> None:
        if not await self._wire.restart(slot.address):
            slot.ready = False
            self._changed(
                f"worker {slot.name} hangs and can't be restarted: it was started without a "
                "nanny; it is used again when its function returns"
            )

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
        if address in await self._wire.workers() and self._workers is None:
            self._add(address)

    async def let_go(self) -> None:
        """Let the slots end: idle ones now, busy ones at their next report.

        Call `close` after it, in any case.
        """
        self._closing = True
        await self._wire.let_go(self._slots, processes_end=self._workers is not None)

    def close(self) -> None:
        """Give up whatever is under way."""
        self._closing = True
        for task in self._tasks:
            task.cancel()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _named(instruction: Stop | Kill) -> tuple[str, int]:
    return instruction.trial_id, instruction.attempt
