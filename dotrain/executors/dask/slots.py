"""The slots of a Dask cluster, and what runs on them.

Everything here runs on the event loop of the connection, and only there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from distributed import Client

from dotrain.core.events import Event, Failed
from dotrain.core.failure import Failure, FailureKind
from dotrain.errors import DotrainError
from dotrain.executors.bookings import Slot
from dotrain.executors.dask.admission import Admission, Worker
from dotrain.executors.dask.carrier import FilesLost, HomeError, NoRoom
from dotrain.executors.dask.carriers import Carriers, News
from dotrain.executors.dask.names import worker_of
from dotrain.executors.dask.site import Way
from dotrain.executors.dask.slot import SlotHost
from dotrain.executors.dask.wire import Wire
from dotrain.executors.dask.workers import AbstractWorkerTable
from dotrain.executors.dealing import Wish
from dotrain.executors.group import Group
from dotrain.store import RunDir
from dotrain.training.environment import Sealed


@final
class SlotTable(AbstractWorkerTable):
    """Every slot of a run on a cluster.

    Attributes:
        carriers: Who brings files home from workers that don't share the driver's disk.
    """

    def __init__(
        self,
        client: Client,
        host: SlotHost,
        environment: Sealed,
        post: Callable[[Event], None],
        fail: Callable[[DotrainError], None],
        *,
        wish: Wish,
        per_trial: int,
        max_workers: int | None,
    ) -> None:
        """Make an empty table.

        Args:
            client: Connected.
            host: What is put on each worker, with what every attempt runs.
            environment: The variables of attempts, for those who ask.
            post: Where events go.
            fail: Called with what ends the run.
            wish: What the run wants of workers.
            per_trial: How many slots a trial takes.
            max_workers: The most workers to use; None is all.
        """
        wire = Wire(client, host)
        super().__init__(
            post,
            wire,
            Admission(wire, host.program, wish, self._changed, self._add),
            wish=wish,
            per_trial=per_trial,
            max_workers=max_workers,
        )
        self._environment = environment
        self._run_dir = RunDir(Path(host.program.run_dir))
        self.carriers = Carriers(wire, host.program, self._changed)
        self._fail = fail
        #: What is under way before ranks begin, by the token of their group.
        self._starting: dict[str, asyncio.Task[Any]] = {}
        #: Whether the run ends because nothing can be kept.
        self._failed = False

    # ---- slots come and go ----

    def _opened(self, slot: Slot, way: Way) -> None:
        slot.own_disk = way is not Way.SHARED
        if slot.own_disk:
            self.carriers.add(slot.address)

    def _dropped(self, slot: Slot, cause: str) -> None:
        was_carried = self.carriers.drop(slot.address)
        if slot.group is not None:
            slot.group.gone(slot.address, cause, died=None if slot.leaves else "worker")
            if was_carried and slot.address == slot.group.addresses[0]:
                slot.group.files_lost(f"{cause}, before the trial's files were home")
            self._go_on(slot.group)

    def _on_message(self, event: tuple[float, Any]) -> None:
        message = event[1]
        worker = self._workers.get(message["worker"])
        if worker is None:
            return
        if "wants" in message:
            self._spawn(self._send([worker.address], "take", self._environment))
        if "broken" in message:
            self.admission.refuse(worker, message["broken"])
            self._remove(worker.address)
            return
        if "ready" in message:
            self._ready(worker, message["ready"])
        if "news" in message:
            name, token, *news = message["news"]
            slot = self._slots.get(name)
            if slot is not None and slot.group is not None and slot.group.token == token:
                self._spawn(self._follow(slot, slot.group, (news[0], news[1])))
        if "leaves" in message:
            for name in worker.slots:
                self._leaves(self._slots[name], message["leaves"])
            self._let_worker_part(worker)
        if "quiet" in message:
            for name in worker.slots:
                self.carriers.note_quiet(name)
        items: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
        for name, token, item in message.get("items", ()):
            items.setdefault(name, []).append((token, item))
        for name, told in items.items():
            if (slot := self._slots.get(name)) is not None:
                self._hear(slot, told)

    def _hear(self, slot: Slot, items: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
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
                group.gone(address, cause, died=None)
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
                folder = group.launch.folder
                self._changed(f"{folder}: not brought home from {slot.place}: {names}")
        if self._slots.get(slot.address) is slot:
            self.take(slot, gone)

    async def _cause(self, slot: Slot, error: Exception) -> str | None:
        """Return why files couldn't come or go; None if the worker has gone, and its slots with it."""
        worker = worker_of(slot.address)
        if not isinstance(error, FilesLost) and await self._wire.python_of(worker) is None:
            self._unreachable(worker, error)
            return None
        return f"the trial's files can't come or go between here and {slot.place}: {error}"

    def _home_broke(self, broke: HomeError, group: Group | None = None) -> None:
        error = broke.error
        self._failed = True
        what = f"{error.filename or self._run_dir.path}: {error.strerror}"
        if group is not None and broke.is_full:
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
                worker = worker_of(address)
                if address in self._slots and not await self._wire.python_of(worker):
                    self._unreachable(worker, error)
                if (slot := self._slots.get(address)) is not None:
                    group.never_began(address)
                    self._bookings.free(slot)
            self._go_on(group)
            return
        for worker, why in failed.items():
            self._unreachable(worker, why)

    def _let_part(self, slot: Slot) -> None:
        worker = self._workers.get(worker_of(slot.address))
        if worker is not None:
            self._let_worker_part(worker)

    def _let_worker_part(self, worker: Worker) -> None:
        """Let a worker go that is about to, when nothing is left on its slots."""
        if all(self._slots[name].group is None for name in worker.slots):
            self._spawn(self._wire.tell([worker.address], "part"))  # if it has gone, all the better

    def _tell(self, addresses: Sequence[str], method: str, *arguments: Any) -> None:
        self._spawn(self._send_when_begun(addresses, method, *arguments))

    async def _send_when_begun(
        self, to: Sequence[str], method: str, token: str, *more: Any
    ) -> None:
        if (starting := self._starting.get(token)) is not None:
            await asyncio.wait([starting])  # else it is heard before there is anything to stop
        workers = dict.fromkeys(worker_of(slot) for slot in to if slot in self._slots)
        await self._send([*workers], method, token, *more)

    async def _send(self, workers: Sequence[str], method: str, *arguments: Any) -> None:
        here = [worker for worker in workers if worker in self._workers]
        failed = await self._wire.tell(here, method, *arguments) if here else {}
        for worker, error in failed.items():
            self._unreachable(worker, error)

    def _unreachable(self, worker: str, error: Exception) -> None:
        """Close the slots of a worker that can't be reached: Dask is about to notice, or they are opened anew."""
        self._open_anew([worker], f"its worker can't be reached: {error}")

    # ---- the end ----

    async def let_go(self) -> None:
        """Let the slots end, and whatever runs there; call `close` after it, in any case."""
        self._closing = True
        for starting in self._starting.values():
            starting.cancel()
        await self._wire.quit(self._workers)
        busy = [address for address, slot in self._slots.items() if slot.group is not None]
        await asyncio.gather(*map(self.carriers.bring_last, busy))
        await self._wire.let_go(self._workers)

    def close(self) -> None:
        """Give up whatever is under way."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        self.carriers.close()
