"""The slots of a Dask cluster: one on each worker.

Everything here runs on the event loop of the connection, and only there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.comm import get_address_host

from dotrain.core.events import Event, Failed
from dotrain.core.failure import Failure, FailureKind
from dotrain.errors import DotrainError
from dotrain.executors.bookings import Slot
from dotrain.executors.dask.admission import Admission
from dotrain.executors.dask.carrier import FilesLost, HomeError, NoRoom
from dotrain.executors.dask.carriers import Carriers, News
from dotrain.executors.dask.site import Way
from dotrain.executors.dask.slot import SlotHost
from dotrain.executors.dask.wire import Wire
from dotrain.executors.group import Group
from dotrain.executors.table import AbstractSlotTable
from dotrain.store import RunDir
from dotrain.store.disk import FULL
from dotrain.training.environment import Sealed

#: When workers are counted once more after the start, in seconds.
_SOON_S = 1.0


class SlotTable(AbstractSlotTable):
    """Every slot of a run on a cluster.

    Attributes:
        enough: Set while there are at least as many slots as one trial takes.
        carriers: Who brings files home from workers that don't share the driver's disk.
        admission: Which workers are used.
    """

    def __init__(
        self,
        client: Client,
        host: SlotHost,
        environment: Sealed,
        post: Callable[[Event], None],
        fail: Callable[[DotrainError], None],
        *,
        per_trial: int,
        max_slots: int | None,
    ) -> None:
        """Make an empty table.

        Args:
            client: Connected.
            host: What is put on each worker, with what every attempt runs.
            environment: The variables of attempts, for those who ask.
            post: Where events go.
            fail: Called with what ends the run.
            per_trial: How many slots a trial takes.
            max_slots: The most slots to open; None is all.
        """
        super().__init__(post)
        self._wire = Wire(client, host)
        self._environment = environment
        self._run_dir = RunDir(Path(host.program.run_dir))
        self.carriers = Carriers(self._wire, host.program, self._changed)
        self.admission = Admission(self._wire, host.program, self._changed, self._add)
        self._fail = fail
        #: What is under way before ranks begin, by the token of their group.
        self._starting: dict[str, asyncio.Task[Any]] = {}
        self._needed = per_trial
        self._max_slots = max_slots
        self._tasks: set[asyncio.Task[Any]] = set()
        #: Whether the run ends because nothing can be kept.
        self._failed = False
        #: No slot is opened or missed any more.
        self._closing = False
        self.enough = asyncio.Event()

    # ---- slots come and go ----

    async def open(self) -> None:
        """Listen to the workers, and open a slot on each."""
        self._wire.listen(self._on_message, self._on_cluster_event)
        self._add(await self._wire.workers())
        # One may have come after they were counted, and before we were told of such.
        asyncio.get_running_loop().call_later(_SOON_S, lambda: self._spawn(self._add_if_there()))

    def _add(self, addresses: Iterable[str]) -> None:
        if new := self._new_slots(addresses):
            self._spawn(self._ask(new))

    def _new_slots(self, addresses: Iterable[str]) -> list[Slot]:
        """Return slots, not yet open, for workers that have none and aren't refused."""
        new = []
        for address in addresses:
            full = self._max_slots is not None and len(self._slots) >= self._max_slots
            if full or self._closing or address in self._slots or address in self.admission.refused:
                continue
            self._slots[address] = slot = Slot(address, str(get_address_host(address)))
            new.append(slot)
        return new

    async def _ask(self, new: Sequence[Slot]) -> None:
        """Open slots on those workers whose place will do, and say which way their files go."""
        try:
            ways = await self.admission.ask(new)
        except HomeError as error:
            return self._home_broke(error)
        for slot in new:
            way = ways[slot.address]
            if self._slots.get(slot.address) is not slot or self._closing:
                continue
            if way is None:
                again = slot.address in self.admission.silent  # then it is asked alone
                self._open_anew(slot.address) if again else self._remove(slot.address)
                continue
            slot.own_disk = way is not Way.SHARED
            if slot.own_disk:
                self.carriers.add(slot.address)
            self._wire.hold(slot.address, slot.own_disk, partial(self._on_task_done, slot))
        if any(slot.address in self.admission.refused for slot in new):
            self._add(self._wire.known_workers())  # there may be others in their place

    def _on_task_done(self, slot: Slot, status: str) -> None:
        """Open a slot anew if its task has ended though nobody told it to."""
        if self._slots.get(slot.address) is slot and not self._closing:
            self._open_anew(slot.address, f"its slot's task ended ({status})")

    def _remove(self, address: str, cause: str = "") -> None:
        slot = self._slots.pop(address, None)
        if slot is None:
            return
        self._wire.release(address)
        was_carried = self.carriers.drop(address)
        if slot.group is not None:
            cause = cause or f"its worker {slot.place} left the cluster"
            slot.group.gone(slot.address, cause)
            if was_carried and address == slot.group.addresses[0]:
                slot.group.files_lost(f"{cause}, before the trial's files were home")
            self._go_on(slot.group)
            self._changed()
        elif slot.ready:
            self._changed()

    def _changed(self, why: str | None = None) -> None:
        (self.enough.clear if self.ready < self._needed else self.enough.set)()
        super()._changed(why)

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

    def _on_message(self, event: tuple[float, Any]) -> None:
        message = event[1]
        slot = self._slots.get(message["slot"])
        if slot is None:
            return
        if "wants" in message:
            self._spawn(self._send([slot.address], "take", self._environment))
        if "broken" in message:
            self.admission.refuse(slot, message["broken"])
            self._remove(slot.address)
        if "ready" in message:
            slot.name = message["ready"]
            self.admission.took(slot.address)
            self._bookings.admit(slot)
            self._changed()
            self._launch_pending()
        if "news" in message:
            token, *news = message["news"]
            if slot.group is not None and slot.group.token == token:
                self._spawn(self._follow(slot, slot.group, (news[0], news[1])))
        if "quiet" in message:
            self.carriers.note_quiet(slot.address)
        items = message.get("items", ())
        if slot.address not in self.carriers:
            self.take(slot, items)
            return
        self.take(slot, [item for item in items if "gone" not in item[1]])
        if gone := [item for item in items if "gone" in item[1]]:
            self._spawn(self._bring_home(slot, gone))

    # ---- files ----

    async def _hand_out(self, group: Group) -> bool:
        """Give the ranks of a group what they go on from; return whether they may begin."""
        for address, error in (await self.carriers.hand_out(group)).items():
            if isinstance(error, HomeError):
                self._home_broke(error, group)
                continue
            slot = self._slots.get(address)
            if isinstance(error, NoRoom):
                group.no_room(address, str(error))
            elif slot is not None and (cause := await self._cause(slot, error)) is not None:
                group.gone(address, cause)
        if not group.is_settled and not self._failed:
            return True
        for address in group.addresses:
            group.never_began(address)
            if (slot := self._slots.get(address)) is not None and slot.group is group:
                self._bookings.free(slot)
        self._go_on(group)
        return False

    async def _follow(self, slot: Slot, group: Group, news: News) -> None:
        try:
            await self.carriers.follow(slot.address, news)
        except HomeError as error:
            self._home_broke(error, group)
        except Exception:
            pass  # if the worker has gone, the cluster says so; else it comes at the end

    async def _bring_home(self, slot: Slot, gone: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Bring a trial's files home; only then it is told that nothing of its rank is left."""
        group = slot.group
        if group is None:
            return
        try:
            skipped = await self.carriers.bring_home(slot.address)
        except HomeError as error:
            return self._home_broke(error, group)
        except Exception as error:
            cause = await self._cause(slot, error)
            if cause is not None and slot.address == group.addresses[0]:
                group.files_lost(cause)
        else:
            if skipped:
                names = ", ".join(f"{path} ({why})" for path, why in skipped.items())
                trial_id = group.launch.trial_id
                self._changed(f"{trial_id}: not brought home from {slot.place}: {names}")
        if self._slots.get(slot.address) is slot:
            self.take(slot, gone)

    async def _cause(self, slot: Slot, error: Exception) -> str | None:
        """Return why files couldn't come or go; None if the worker has gone, and its slot with it."""
        if not isinstance(error, FilesLost) and await self._wire.python_of(slot.address) is None:
            self._unreachable(slot.address, error)
            return None
        return f"the trial's files can't come or go between here and {slot.place}: {error}"

    def _home_broke(self, broke: HomeError, group: Group | None = None) -> None:
        """End the run: nothing that trials have done can be kept."""
        error = broke.error
        self._failed = True
        what = f"{error.filename or self._run_dir.path}: {error.strerror}"
        if group is not None and error.errno in FULL:
            failure = Failure(FailureKind.DISK_FULL, what)
            self._post(Failed(group.launch.trial_id, group.launch.attempt, failure))
        else:
            self._fail(DotrainError(f"{what}; the trials' files can't come home"))

    # ---- what is said to them ----

    def _launch(self, group: Group) -> None:
        if not any(address in self.carriers for address in group.addresses):
            self._spawn(self._start(group))
            return
        task = self._starting[group.token] = self._spawn(self._hand_out_and_start(group))
        task.add_done_callback(lambda _: self._starting.pop(group.token, None))

    async def _hand_out_and_start(self, group: Group) -> None:
        if await self._hand_out(group):
            await self._start(group)

    async def _start(self, group: Group) -> None:
        try:
            failed = await self._wire.launch(group)
        except Exception as error:
            for address in group.addresses:
                if address in self._slots and not await self._wire.python_of(address):
                    self._unreachable(address, error)
                if (slot := self._slots.get(address)) is not None:
                    group.never_began(address)
                    self._bookings.free(slot)
            self._go_on(group)
            return
        for address, why in failed.items():
            self._unreachable(address, why)

    def _tell(self, addresses: Sequence[str], method: str, *arguments: Any) -> None:
        self._spawn(self._send_when_begun(addresses, method, *arguments))

    async def _send_when_begun(
        self, to: Sequence[str], method: str, token: str, *more: Any
    ) -> None:
        if (starting := self._starting.get(token)) is not None:
            await asyncio.wait([starting])  # else it is heard before there is anything to stop
        await self._send(to, method, token, *more)

    async def _send(self, addresses: Sequence[str], method: str, *arguments: Any) -> None:
        here = [address for address in addresses if address in self._slots]
        failed = await self._wire.tell(here, method, *arguments) if here else {}
        for address, error in failed.items():
            self._unreachable(address, error)

    def _unreachable(self, address: str, error: Exception) -> None:
        """Close a slot that can't be reached: Dask is about to notice, or it is opened anew."""
        self._open_anew(address, f"its worker can't be reached: {error}")

    def _open_anew(self, address: str, cause: str = "") -> None:
        if address in self._slots:
            self._remove(address, cause)
            self._spawn(self._add_if_there(address))

    async def _add_if_there(self, *addresses: str) -> None:
        there = () if self._closing else await self._wire.workers()
        self._add(one for one in there if one in addresses or not addresses)

    def _later(self, delay_s: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(delay_s, call)

    # ---- the end ----

    async def let_go(self) -> None:
        """Let the slots end, and whatever runs there; call `close` after it, in any case."""
        self._closing = True
        for starting in self._starting.values():
            starting.cancel()
        await self._wire.quit(self._slots)
        busy = [address for address, slot in self._slots.items() if slot.group is not None]
        await asyncio.gather(*map(self.carriers.bring_last, busy))
        await self._wire.let_go(self._slots)

    def close(self) -> None:
        """Give up whatever is under way."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        self.carriers.close()

    def _spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
