"""The driver's side: slots come and go, attempts go out, events come back.

Dask's client lives on an event loop in a thread of its own; the driver's thread and the loop talk
through one queue each way, and only the loop touches slots.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future
from distributed.comm import get_address_host

from dotrain.core.events import Event, Lost, SlotsChanged, from_record
from dotrain.core.instructions import Finish, Instruction, Kill, Launch, Stop
from dotrain.errors import ClusterGone, DotrainError, ResourcesUnavailable
from dotrain.executors.base import Executor, Post
from dotrain.executors.dask.connection import quiet_dask
from dotrain.executors.dask.health import HostHealth
from dotrain.executors.dask.local_workers import LocalWorkers
from dotrain.executors.dask.slot import SlotHost, call_host, serve_slot, slot_key, topic_of
from dotrain.training.program import Program

#: How long the loop's thread may take to end, in seconds.
_CLOSE_TIMEOUT_S = 10.0

#: How often the connection to the scheduler is looked at, in seconds.
_WATCH_S = 0.2


@dataclass
class _Slot:
    address: str
    task: Future
    name: str = ""
    ready: bool = False
    launch: Launch | None = None
    #: When the attempt was sent, by the loop's clock.
    sent_s: float = 0.0

    @property
    def host(self) -> str:
        return str(get_address_host(self.address))


@dataclass
class _State:
    """What the loop's thread knows; no other thread touches it."""

    client: Client
    slots: dict[str, _Slot] = field(default_factory=dict)
    pending: deque[Launch] = field(default_factory=deque)
    health: HostHealth = field(default_factory=HostHealth)
    #: What ended local workers, by name, until their slot is found gone.
    deaths: dict[str, str] = field(default_factory=dict)
    #: A slot has been ready.
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    #: Every local worker has died before any got ready.
    hopeless: asyncio.Event = field(default_factory=asyncio.Event)


class DaskExecutor(Executor):
    """Runs attempts on Dask workers, one at a time on each worker process."""

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Client]],
        *,
        max_slots: int | None = None,
        connect_timeout_s: float = 10.0,
        workers: LocalWorkers | None = None,
    ) -> None:
        """Make an executor; nothing is connected yet.

        Args:
            connect: Opens the connection to a scheduler.
            max_slots: The most workers to use; None is all.
            connect_timeout_s: How long to wait for a first worker.
            workers: The local worker processes behind the scheduler, if they are ours.
        """
        self._connect = connect
        self._max_slots = max_slots
        self._connect_timeout_s = connect_timeout_s
        self._workers = workers
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._first_slot = threading.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(self, program: Program, post: Post) -> None:
        """Connect, and wait for the first slot."""
        self._program = program
        self._post = post
        self._thread = threading.Thread(target=self._run_loop, name="dotrain-dask", daemon=True)
        self._thread.start()
        self._first_slot.wait()
        self.pump(0)

    def interrupt(self) -> None:
        """Don't wait for the first slot any longer."""
        self._first_slot.set()

    def carry_out(self, instruction: Instruction) -> None:
        """Hand an instruction to the loop."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_instruction, instruction)

    def pump(self, timeout_s: float) -> None:
        """Post what has arrived; wait for something if nothing has."""
        try:
            item = self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get(False)
            while True:
                if isinstance(item, BaseException):
                    raise item
                self._post(item)
                item = self._events.get(False)
        except queue.Empty:
            return

    def abort(self) -> None:
        """Kill the local workers; what isn't ours is left to itself."""
        if self._workers is not None:
            self._workers.kill_all()

    def close(self) -> None:
        """Let the slots go, disconnect, and end local workers."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                self._loop.call_soon_threadsafe(self._leave)
            self._thread.join(_CLOSE_TIMEOUT_S)
        if self._workers is not None:
            self._workers.close()
        self._thread = None

    def _leave(self) -> None:
        self._end.set()
        if not self._is_connected:
            self._main.cancel()

    # ---- everything below runs on the loop's thread ----

    def _run_loop(self) -> None:
        try:
            with quiet_dask():
                asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass  # told to leave before it was connected
        except DotrainError as error:
            self._events.put(error)
        except BaseException as error:
            text = "".join(traceback.format_exception(error))
            self._events.put(ResourcesUnavailable(f"the connection to Dask broke down:\n{text}"))
        finally:
            self._loop = None
            self._first_slot.set()

    async def _serve(self) -> None:
        main = asyncio.current_task()
        assert main is not None
        self._main = main
        self._is_connected = False
        self._end = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with self._connect() as client:
            self._is_connected = True
            self._state = _State(client)
            background = []
            if self._workers is not None:
                address = client.scheduler.address
                background.append(asyncio.create_task(self._workers.serve(address, self._on_death)))
            background.append(asyncio.create_task(self._watch_connection(client)))
            try:
                await self._open_slots()
                await self._end.wait()
                await self._let_go()
            finally:
                if self._workers is not None:
                    await asyncio.to_thread(self._workers.close)
                for task in (*background, *self._tasks):
                    task.cancel()

    async def _watch_connection(self, client: Client) -> None:
        """Notice that the scheduler is gone: its slots are, and everything that it knew."""
        address = client.scheduler.address
        while client.status == "running":
            await asyncio.sleep(_WATCH_S)
        if not self._end.is_set():
            self._events.put(ClusterGone(f"the Dask scheduler at {address} is gone"))

    async def _open_slots(self) -> None:
        client, token = self._state.client, self._program.token
        client.subscribe_topic(topic_of(token), self._on_message)
        client.subscribe_topic("all", self._on_cluster_event)
        host = SlotHost(self._program, whole_process=self._workers is not None)
        try:
            await client.register_plugin(host, name=host.name)
        except Exception as error:
            raise ResourcesUnavailable(
                f"a Dask worker can't load dotrain: {type(error).__name__}: {error}; "
                "install the same version of dotrain there"
            ) from error
        for address in (await client.scheduler.identity(n_workers=-1))["workers"]:
            self._add_slot(address)
        await self._wait_for_a_slot()
        if not (self._state.ready.is_set() or self._end.is_set()):
            raise ResourcesUnavailable(self._no_workers(client.scheduler.address))
        self._first_slot.set()

    async def _wait_for_a_slot(self) -> None:
        """Return when a slot is ready, when there is no hope for one, or after the time-out."""
        events = [self._state.ready, self._state.hopeless, self._end]
        tasks = [asyncio.create_task(event.wait()) for event in events]
        await asyncio.wait(
            tasks, timeout=self._connect_timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        for task in tasks:
            task.cancel()

    def _no_workers(self, address: str) -> str:
        within = f"within {self._connect_timeout_s:g} s (cluster.connect_timeout_s)"
        if self._workers is not None:
            causes = "; ".join(f"{name}: {why}" for name, why in self._state.deaths.items())
            words = self._workers.last_words()
            return f"no local worker got ready {causes or within}; their last words:\n{words}"
        return (
            f"the Dask scheduler at {address} has no worker that got ready {within}; "
            f"start one with: dask worker {address} (a worker serves one run at a time)"
        )

    def _add_slot(self, address: str) -> None:
        slots = self._state.slots
        if address in slots or (self._max_slots is not None and len(slots) >= self._max_slots):
            return
        token = self._program.token
        task = self._state.client.submit(
            serve_slot,
            token,
            key=slot_key(token, address),
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )
        slot = slots[address] = _Slot(address, task)
        loop = asyncio.get_running_loop()

        # Dask calls back on a thread of its own.
        def done(_: Future) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(self._on_task_done, slot)

        task.add_done_callback(done)

    def _on_task_done(self, slot: _Slot) -> None:
        """Open a slot anew if its task has ended though nobody told it to."""
        if self._state.slots.get(slot.address) is slot and not self._end.is_set():
            self._remove_slot(slot.address, f"its slot's task ended ({slot.task.status})")
            self._spawn(self._add_if_there(slot.address))

    def _remove_slot(self, address: str, cause: str = "") -> None:
        slot = self._state.slots.pop(address, None)
        if slot is None:
            return
        slot.task.release()
        if self._workers is not None and slot.name and not self._end.is_set():
            # If only its connection is gone, a new process must take its place.
            self._workers.kill(slot.name)
        if slot.launch is not None:
            self._spawn(self._report_loss(slot, slot.launch, cause))
        elif slot.ready:
            self._slots_changed()

    async def _report_loss(self, slot: _Slot, launch: Launch, cause: str) -> None:
        cause = cause or f"its worker {slot.name} ({slot.address}) left the cluster"
        if self._workers is not None:
            # The exit code may come a moment after Dask has noticed the broken connection.
            for _ in range(20):
                if slot.name in self._state.deaths:
                    cause = self._state.deaths.pop(slot.name)
                    break
                await asyncio.sleep(0.05)
        self._events.put(Lost(launch.trial_id, launch.attempt, cause))
        self._slots_changed()

    def _slots_changed(self, why: str | None = None) -> None:
        ready = sum(slot.ready for slot in self._state.slots.values())
        self._events.put(SlotsChanged(ready, why))

    def _on_death(self, name: str, cause: str) -> None:
        deaths = self._state.deaths
        deaths[name] = cause
        workers = self._workers.names if self._workers else []
        if not self._state.ready.is_set() and all(worker in deaths for worker in workers):
            self._state.hopeless.set()

    def _on_cluster_event(self, event: tuple[float, Any]) -> None:
        message = event[1]
        action = message.get("action") if isinstance(message, dict) else None
        if action == "add-worker":
            self._add_slot(message["worker"])
        elif action == "remove-worker":
            self._remove_slot(message["worker"])
            for address in self._state.client.scheduler_info(n_workers=-1)["workers"]:
                if address != message["worker"]:
                    self._add_slot(address)

    def _on_message(self, event: tuple[float, Any]) -> None:
        message = event[1]
        slot = self._state.slots.get(message["slot"])
        if slot is None:
            return
        if "ready" in message:
            slot.name = message["ready"]
            self._state.deaths.pop(slot.name, None)
            slot.ready = slot.host not in self._state.health.avoided
            self._state.ready.set()
            self._slots_changed()
        for record in message.get("events", ()):
            trial_event = from_record(record)
            ends = record["type"] in ("Finished", "Stopped", "Failed")
            if ends:
                slot.launch = None
                if not slot.ready:
                    slot.ready = slot.host not in self._state.health.avoided
                    self._slots_changed()
            self._events.put(trial_event)
            if ends:
                self._note_health(slot, failed=record["type"] == "Failed")
        self._launch_pending()

    def _note_health(self, slot: _Slot, *, failed: bool) -> None:
        health = self._state.health
        took_s = asyncio.get_running_loop().time() - slot.sent_s
        if not health.record(slot.host, failed=failed, took_s=took_s):
            return
        for other in self._state.slots.values():
            if other.host in health.avoided:
                other.ready = False
        hosts = ", ".join(sorted(health.avoided))
        self._slots_changed(f"avoiding {hosts}: trials there fail at once, elsewhere they don't")

    def _on_instruction(self, instruction: Instruction) -> None:
        match instruction:
            case Launch():
                self._state.pending.append(instruction)
                self._launch_pending()
            case Stop():
                self._stop(instruction)
            case Kill(timeout=True):
                self._kill(instruction)
            case Finish() if self._workers is not None:
                self._workers.restart = False

    def _launch_pending(self) -> None:
        pending = self._state.pending
        if not pending:
            return
        for slot in self._state.slots.values():
            if pending and slot.ready and slot.launch is None:
                slot.launch = pending.popleft()
                slot.sent_s = asyncio.get_running_loop().time()
                self._spawn(self._send(slot, "launch", slot.launch))

    def _holder(self, instruction: Stop | Kill) -> _Slot | None:
        for slot in self._state.slots.values():
            launch = slot.launch
            if launch and (launch.trial_id, launch.attempt) == (
                instruction.trial_id,
                instruction.attempt,
            ):
                return slot
        return None

    def _stop(self, instruction: Stop | Kill) -> None:
        slot = self._holder(instruction)
        if slot is not None:
            arguments = (instruction.trial_id, instruction.attempt, instruction.reason)
            self._spawn(self._send(slot, "stop", *arguments))

    def _kill(self, instruction: Kill) -> None:
        self._state.pending = deque(
            launch
            for launch in self._state.pending
            if (launch.trial_id, launch.attempt) != (instruction.trial_id, instruction.attempt)
        )
        slot = self._holder(instruction)
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
            await self._state.client.restart_workers([slot.address], raise_for_error=False)
        except Exception:  # it has no nanny
            slot.ready = False
            self._slots_changed(
                f"worker {slot.name} hangs and can't be restarted: it was started without a "
                "nanny; it is used again when its function returns"
            )

    async def _send(self, slot: _Slot, method: str, *arguments: Any) -> None:
        token = self._program.token
        try:
            await self._state.client.run(
                call_host, token, method, *arguments, workers=[slot.address]
            )
        except Exception as error:
            # It can't be reached; Dask is about to notice, or its slot is opened anew.
            if self._state.slots.get(slot.address) is slot:
                self._remove_slot(slot.address, f"its worker can't be reached: {error}")
                self._spawn(self._add_if_there(slot.address))

    async def _add_if_there(self, address: str) -> None:
        workers = (await self._state.client.scheduler.identity(n_workers=-1))["workers"]
        if address in workers and self._workers is None:
            self._add_slot(address)

    async def _let_go(self) -> None:
        """Let the slots end: idle ones now, busy ones at their next report."""
        client, token = self._state.client, self._program.token
        if client.status != "running":
            return
        addresses = list(self._state.slots)
        if addresses:
            await client.run(call_host, token, "quit", workers=addresses, on_error="ignore")
        if self._workers is not None:
            return  # the processes end, and everything with them
        await client.unregister_worker_plugin(topic_of(token))
        for slot in self._state.slots.values():
            slot.task.release()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
