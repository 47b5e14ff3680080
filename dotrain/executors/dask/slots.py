"""The table of slots: they come and go, groups of ranks run on them.

Everything here runs on the event loop of the connection, and only there.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future
from distributed.comm import get_address_host

from dotrain.core.events import Event, Failed, Lost, SlotsChanged, TrialEvent, from_record
from dotrain.core.instructions import Finish, Instruction, Kill, Launch, Stop
from dotrain.core.strategy import AbstractStrategy, Seat
from dotrain.distribution.rank import RankLaunch
from dotrain.executors.dask.group import Group
from dotrain.executors.dask.health import HostHealth
from dotrain.executors.dask.local_workers import LocalWorkers
from dotrain.executors.dask.slot import call_host, serve_slot, slot_key, topic_of
from dotrain.training.program import Program

#: How long the other ranks of an attempt may take when one has come to its end, in seconds.
_ENDING_S = 5.0

#: How often a group is started again because another process has taken one of its ports.
_PORT_RETRIES = 5


@dataclass(eq=False)
class _Slot:
    address: str
    task: Future
    name: str = ""
    ready: bool = False
    group: Group | None = None
    #: When the attempt was sent, by the loop's clock.
    sent_s: float = 0.0

    @property
    def host(self) -> str:
        return str(get_address_host(self.address))


@dataclass
class _Pending:
    """A launch that waits for its slots."""

    launch: Launch
    port_retries: int


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
        self._client = client
        self._program = program
        self._post = post
        self._needed = strategy.slots
        self._own_process = strategy.own_process
        self._max_slots = max_slots
        self._workers = workers
        self._slots: dict[str, _Slot] = {}
        self._groups: dict[str, Group] = {}
        self._pending: deque[_Pending] = deque()
        self._health = HostHealth()
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
        return sum(slot.ready for slot in self._slots.values())

    @property
    def deaths(self) -> dict[str, str]:
        """What ended local workers that have not come back, by name."""
        return self._deaths

    # ---- slots come and go ----

    async def open(self) -> None:
        """Listen to the workers, and open a slot on each."""
        self._client.subscribe_topic(topic_of(self._program.token), self._on_message)
        self._client.subscribe_topic("all", self._on_cluster_event)
        for address in (await self._client.scheduler.identity(n_workers=-1))["workers"]:
            self._add(address)

    def _add(self, address: str) -> None:
        full = self._max_slots is not None and len(self._slots) >= self._max_slots
        if address in self._slots or full or self._closing:
            return
        token = self._program.token
        task = self._client.submit(
            serve_slot,
            token,
            key=slot_key(token, address),
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        slot = self._slots[address] = _Slot(address, task)
        loop = asyncio.get_running_loop()

        # Dask calls back on a thread of its own.
        def done(_: Future) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(self._on_task_done, slot)

        task.add_done_callback(done)

    def _on_task_done(self, slot: _Slot) -> None:
        """Open a slot anew if its task has ended though nobody told it to."""
        if self._slots.get(slot.address) is slot and not self._closing:
            self._remove(slot.address, f"its slot's task ended ({slot.task.status})")
            self._spawn(self._add_if_there(slot.address))

    def _remove(self, address: str, cause: str = "") -> None:
        slot = self._slots.pop(address, None)
        if slot is None:
            return
        slot.task.release()
        if self._workers is not None and slot.name and not self._closing:
            # If only its connection is gone, a new process must take its place.
            self._workers.kill(slot.name)
        if slot.group is not None:
            self._spawn(self._on_loss(slot, slot.group, cause))
        elif slot.ready:
            self._changed()

    async def _on_loss(self, slot: _Slot, group: Group, cause: str) -> None:
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
            for address in self._client.scheduler_info(n_workers=-1).get("workers", ()):
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
            slot.ready = slot.host not in self._health.avoided
            self._changed()
        touched = {}
        for token, item in message.get("items", ()):
            group = self._groups.get(token)
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

    def _free(self, slot: _Slot) -> None:
        slot.group = None
        if not slot.ready:
            slot.ready = slot.host not in self._health.avoided
            self._changed()

    def _note_health(self, group: Group, *, failed: bool) -> None:
        slot = self._slots.get(group.addresses[0])
        if slot is None:
            return
        took_s = asyncio.get_running_loop().time() - slot.sent_s
        if not self._health.record(slot.host, failed=failed, took_s=took_s):
            return
        avoided = self._health.avoided
        for other in self._slots.values():
            if other.host in avoided:
                other.ready = False
        hosts = ", ".join(sorted(avoided))
        self._changed(f"avoiding {hosts}: trials there fail at once, elsewhere they don't")

    # ---- groups begin and end ----

    def carry_out(self, instruction: Instruction) -> None:
        """Begin to do what an instruction says."""
        match instruction:
            case Launch():
                self._pending.append(_Pending(instruction, 0))
                self._launch_pending()
            case Stop():
                self._stop(instruction)
            case Kill(timeout=True):
                self._kill(instruction)
            case Finish() if self._workers is not None:
                self._workers.restart = False

    def _launch_pending(self) -> None:
        """Start what has all its slots, in order: nothing overtakes, so that nothing starves."""
        if not self._pending:
            return
        free = [slot for slot in self._slots.values() if slot.ready and slot.group is None]
        while self._pending and self._pending[0].launch.slots <= len(free):
            pending = self._pending.popleft()
            taken = [free.pop(0) for _ in range(pending.launch.slots)]
            group = Group(
                pending.launch,
                secrets.token_hex(16),
                [slot.address for slot in taken],
                [slot.name for slot in taken],
                port_retries=pending.port_retries,
            )
            self._groups[group.token] = group
            now_s = asyncio.get_running_loop().time()
            for slot in taken:
                slot.group, slot.sent_s = group, now_s
            self._spawn(self._start(group))

    async def _start(self, group: Group) -> None:
        try:
            reserved = await self._reserve(group)
        except Exception as error:
            for address in group.addresses:
                if self._slots.get(address) is not None:
                    await self._check_reachable(address, error)
                if (slot := self._slots.get(address)) is not None:
                    group.never_began(address)
                    self._free(slot)
            self._go_on(group)
            return
        ranks = {
            address: RankLaunch(
                group.launch,
                Seat(
                    rank,
                    tuple(own for own, _ in reserved),
                    reserved[0][1],
                    group.token,
                    tuple(group.names),
                ),
            )
            for rank, address in enumerate(group.addresses)
        }
        await self._send(group.addresses, "launch", ranks)

    async def _reserve(self, group: Group) -> list[tuple[str, str]]:
        """Return two free addresses for each rank; one that is alone needs none."""
        if group.launch.slots == 1:
            return [("127.0.0.1:0", "127.0.0.1:0")]
        answers = await self._client.run(
            call_host, self._program.token, "reserve", workers=list(group.addresses)
        )
        return [tuple(answers[address]) for address in group.addresses]

    async def _check_reachable(self, address: str, error: Exception) -> None:
        try:
            await self._client.run(str, workers=[address])
        except Exception:
            self._unreachable(address, error)

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
        if group.token in self._groups:
            group.time_is_up()
            self._go_on(group)

    def _over(self, group: Group) -> None:
        if self._groups.pop(group.token, None) is None:
            return
        outcome = group.outcome()
        launch = group.launch
        if outcome is None and group.port_taken and not group.written_off:
            if group.port_retries < _PORT_RETRIES:
                self._pending.appendleft(_Pending(launch, group.port_retries + 1))
            else:
                outcome = Lost(launch.trial_id, launch.attempt, "no free port was found")
        if outcome is not None:
            self._post(outcome)
            if not isinstance(outcome, Lost):
                self._note_health(group, failed=isinstance(outcome, Failed))
        self._launch_pending()

    def _group_of(self, instruction: Stop | Kill) -> Group | None:
        asked = instruction.trial_id, instruction.attempt
        for group in self._groups.values():
            if (group.launch.trial_id, group.launch.attempt) == asked:
                return group
        return None

    def _stop(self, instruction: Stop | Kill) -> None:
        group = self._group_of(instruction)
        if group is not None:
            self._spawn(self._send(group.addresses, "stop", group.token, instruction.reason))

    def _kill(self, instruction: Kill) -> None:
        asked = instruction.trial_id, instruction.attempt
        self._pending = deque(
            pending
            for pending in self._pending
            if (pending.launch.trial_id, pending.launch.attempt) != asked
        )
        group = self._group_of(instruction)
        if group is None:
            return
        group.write_off()
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
            self._stop(instruction)
            self._spawn(self._restart(slot))

    async def _restart(self, slot: _Slot) -> None:
        try:
            await self._client.restart_workers([slot.address], raise_for_error=False)
        except Exception:  # it has no nanny
            slot.ready = False
            self._changed(
                f"worker {slot.name} hangs and can't be restarted: it was started without a "
                "nanny; it is used again when its function returns"
            )

    async def _send(self, addresses: Sequence[str], method: str, *arguments: Any) -> None:
        here = [address for address in addresses if address in self._slots]
        if not here:
            return
        try:
            answers = await self._client.run(
                call_host, self._program.token, method, *arguments, workers=here, on_error="return"
            )
        except Exception as error:
            answers = dict.fromkeys(here, error)
        for address, answer in answers.items():
            if isinstance(answer, Exception):
                self._unreachable(address, answer)

    def _unreachable(self, address: str, error: Exception) -> None:
        """Close a slot that can't be reached: Dask is about to notice, or it is opened anew."""
        if address in self._slots:
            self._remove(address, f"its worker can't be reached: {error}")
            self._spawn(self._add_if_there(address))

    async def _add_if_there(self, address: str) -> None:
        workers = (await self._client.scheduler.identity(n_workers=-1))["workers"]
        if address in workers and self._workers is None:
            self._add(address)

    async def let_go(self) -> None:
        """Let the slots end: idle ones now, busy ones at their next report.

        Call `close` after it, in any case.
        """
        self._closing = True
        client, token = self._client, self._program.token
        if client.status != "running":
            return
        addresses = list(self._slots)
        if addresses:
            await client.run(call_host, token, "quit", workers=addresses, on_error="ignore")
        if self._workers is not None:
            return  # the processes end, and everything with them
        await client.unregister_worker_plugin(topic_of(token))
        for slot in self._slots.values():
            slot.task.release()

    def close(self) -> None:
        """Give up whatever is under way."""
        self._closing = True
        for task in self._tasks:
            task.cancel()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
