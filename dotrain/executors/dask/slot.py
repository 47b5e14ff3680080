"""The worker's side of its slots: hands ranks to their processes, and sends what they tell."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
from distributed import Status, Worker, WorkerPlugin, get_worker
from distributed.comm import get_address_host

from dotrain.attempts.host import Host
from dotrain.attempts.launch import RankLaunch
from dotrain.attempts.pipe import Pipe
from dotrain.executors.dask import holding
from dotrain.executors.dask.carrier import FilesLost, NoRoom
from dotrain.executors.dask.farewell import Sigterm
from dotrain.executors.dask.holding import Holder
from dotrain.executors.dask.names import slot_of, task_key, topic_of
from dotrain.executors.dask.scratch import Scratch, SlotFiles
from dotrain.executors.dask.turn import Turns
from dotrain.executors.environment import environment_of_attempts
from dotrain.executors.table import free_addresses
from dotrain.executors.threads import asked, share
from dotrain.store import RunDir
from dotrain.store.disk import FULL
from dotrain.store.storage import Storage
from dotrain.training.environment import Sealed
from dotrain.training.program import Program

#: How long it stays on a worker to which its driver never comes, in seconds: that has died.
_LEASE_S = 60.0
#: How often a waiting slot looks whether it is still wanted, in seconds.
_LOOK_S = 0.2
#: How often it is told that a log has grown or a checkpoint is there, where files are carried, in seconds.
_NEWS_S = 1.0


class SlotHost(WorkerPlugin):  # type: ignore[misc]
    """Lives on a worker of a run; on each of its slots runs one rank of one attempt at a time.

    It is put there by the driver itself, worker by worker, and goes when the slots' task does: the scheduler,
    and so a worker that joins later, never hears of it.

    Its messages are dicts, on the topic `topic`, all with ``"worker": address``: ``{"wants": "environment"}`` once if the
    config has variables, ``{"ready": name}`` once, when the slots can take their first rank, or ``{"broken": why}``, then ``{"items": [(slot,
    token, item), ...]}``, with the token of the rank's group, and items as of `attempts.host.Host`. Where files are
    carried besides ``{"news": (slot, token, bytes, name)}``, how long a rank's log is and which its newest checkpoint, if
    either has changed. ``{"leaves": why}`` once if the worker is about to go: it waits for `part`, for some time. And at
    last ``{"quiet": True}`` when nothing runs any more.
    """

    def __init__(
        self,
        program: Program,
        threads: int | None,
        owner: Holder,
        *,
        cpus: int | None = None,
        waits: bool = False,
    ) -> None:
        """Make it on the driver's machine.

        Args:
            program: What attempts run, without its variables.
            threads: Of each attempt's libraries; None is its share of the worker's.
            owner: The run.
            cpus: What the config says of cores, which are threads too.
            waits: Whether there are variables to ask for.
        """
        self.program = program
        self.threads = threads
        self.cpus = cpus
        self.owner = owner
        self.waits = waits
        self.name = topic_of(program.token)
        self.topic = self.name
        self.serial = secrets.token_hex(4)

    def anew(self) -> SlotHost:
        """Return one whose slots are told from all before them."""
        return SlotHost(self.program, self.threads, self.owner, cpus=self.cpus, waits=self.waits)

    def setup(self, worker: Worker) -> None:
        """Get ready; called by Dask on the worker."""
        self._worker = worker
        self._host: Host | None = None
        #: The GPUs that each slot sees; None are the worker's.
        self._slots: dict[str, Sequence[str] | None] = {}
        #: Where the files of each slot's trials lie, if not in the run directory.
        self._files: dict[str, SlotFiles] = {}
        #: Set when nothing is to begin here any more, and when nobody wants the files.
        self._left, self._done = threading.Event(), threading.Event()
        #: With the trials' files, where they lie in the run directory itself; of each slot.
        self._turns: dict[str, Turns] = {}
        self._outbox: list[tuple[str, str, dict[str, Any]]] = []
        self._key = task_key(self.program.token, worker.address, self.serial)
        #: Whether the worker is about to go, and set when it may.
        self._leaves, self._parted = False, asyncio.Event()
        self._sigterm = Sigterm(worker, self.farewell)
        self._has_task = False
        worker.loop.call_later(_LEASE_S, self._lapse)

    def teardown(self, worker: Worker) -> None:
        """End whatever runs here if another one takes its place; a worker that closes ends all by itself."""
        self._sigterm.close()
        if worker.status is Status.running:
            self.part()

    def transition(self, key: str, start: str, finish: str, **kwargs: Any) -> None:
        """Notice that the driver is gone: Dask then cancels the slot's task."""
        if key != self._key:
            return
        self._has_task = True
        if finish in ("cancelled", "released", "forgotten"):
            self._worker.loop.add_callback(self._go)

    def _lapse(self) -> None:
        if not self._has_task:
            self._go()

    def _go(self) -> None:
        self.part()
        self._sigterm.close()
        if self._worker.plugins.get(self.name) is self:
            del self._worker.plugins[self.name]

    def serve(self, carried: bool, seen: Sequence[Sequence[str] | None]) -> None:
        """Keep the slots open until told to quit; this is their Dask task.

        Args:
            carried: Whether the trials' files are carried, so that they lie in a folder of this worker's.
            seen: The GPUs that each slot sees; None are the worker's. Without any slot the worker is held all the same:
                what it has is the run's.
        """
        while not holding.hold(replace(self.owner, since_s=time.time()), _LOOK_S):
            if self._left.is_set():
                return
        try:
            self._slots = {slot_of(self._worker.address, i): gpus for i, gpus in enumerate(seen)}
            run_dir = RunDir(Path(self.program.run_dir))
            self._turns = {slot: Turns(run_dir, self.kill) for slot in self._slots}
            if carried:
                place = self.program.storage
                for slot in self._slots:
                    scratch = Scratch(None if place is None else Storage(place))
                    self._files[slot] = SlotFiles(scratch)
            self._worker.loop.add_callback(self._open)
            self._left.wait()
            if self._host is not None:
                self._host.wait()
            if self._files:
                self._worker.loop.add_callback(self._send_message, {"quiet": True})
                self._done.wait()
        finally:
            for files in self._files.values():
                files.scratch.remove()
            for turns in self._turns.values():
                turns.leave()
            holding.let_go()

    # ---- everything below runs on the worker's loop ----

    def _open(self) -> None:
        if self.waits and self._slots and not self._left.is_set():
            self._send_message({"wants": "environment"})
        else:
            self._open_with(self.program)

    def take(self, sealed: Sealed) -> None:
        """Take the variables that were asked for."""
        if self._host is None:
            self._open_with(replace(self.program, environment=sealed.open()))

    def _open_with(self, program: Program) -> None:
        if self._left.is_set():
            return
        for files in self._files.values():  # which of them each rank is told
            program = replace(program, run_dir=str(files.scratch.run_dir.path))
        try:
            if self._slots:
                self._host = Host(
                    program,
                    [*self._slots],
                    environment=self._environment(),
                    devices={slot: gpus for slot, gpus in self._slots.items() if gpus is not None},
                    loop=self,
                    emit=self._emit,
                )
        except OSError as error:
            self._send_message({"broken": str(error)})
        else:
            self._send_message({"ready": str(self._worker.name)})

    def watch(self, way: Pipe, call: Callable[[], None]) -> None:
        """As of `attempts.slot.Loop`."""
        self._worker.loop.asyncio_loop.add_reader(way.fileno(), call)

    def unwatch(self, way: Pipe) -> None:
        """As of `attempts.slot.Loop`."""
        if way.fileno() >= 0:
            self._worker.loop.asyncio_loop.remove_reader(way.fileno())

    def _environment(self) -> dict[str, str]:
        environment: Mapping[str, str] = os.environ
        if self._worker.nanny:
            # The one thread that it gives each library nobody has asked for.
            its_own = dask.config.get("distributed.nanny.pre-spawn-environ", {})
            environment = {n: v for n, v in os.environ.items() if str(its_own.get(n)) != v}
        its_share = share(self._worker.state.nthreads, len(self._slots))
        threads = asked(self.threads, environment, self.cpus) or its_share
        return environment_of_attempts(threads, environment)

    def reserve(self, ranks: Mapping[str, int], *, alone: bool) -> list[tuple[str, str]]:
        """Return two free addresses of this machine for each rank that may run here.

        Args:
            ranks: How many those are, by worker.
            alone: Whether all ranks are at the host of this worker's address; if that is this
                machine, no other machine need reach them.
        """
        own = get_address_host(self._worker.address)
        free_addresses(own)  # raises if it isn't this machine's
        host = "127.0.0.1" if alone else own
        return [free_addresses(host) for _ in range(ranks[self._worker.address])]

    async def launch(self, ranks: Mapping[str, RankLaunch]) -> None:
        """Begin the ranks that are this worker's, of all ranks by slot."""
        mine = [slot for slot in self._slots if slot in ranks]
        await asyncio.gather(*(self._begin(slot, ranks[slot]) for slot in mine))

    async def _begin(self, slot: str, asked: RankLaunch) -> None:
        files, turn = self._files.get(slot), (asked.launch.folder, asked.seat.token)
        if files is not None:
            asked = replace(asked, run_dir=str(files.scratch.run_dir.path))
            files.running, files.told = asked, None
            self._worker.loop.call_later(_NEWS_S, self._look, slot, asked)
        # Ranks but the first write nothing that stays.
        elif asked.seat.rank == 0 and not await self._turns[slot].take(*turn):
            return
        if self._host is not None and not self._left.is_set():
            self._host.begin(slot, asked)

    def stop(self, token: str, reason: str) -> None:
        """Let the ranks of a group end at their next report."""
        if self._host is not None:
            for slot in self._slots:
                self._host.stop(slot, token, reason)

    def kill(self, token: str) -> None:
        """End the ranks of a group now."""
        if self._host is not None:
            for slot, turns in self._turns.items():
                if turns.give_up(token):
                    self._emit(slot, token, {"gone": "it was not begun"})
                self._host.kill(slot, token)

    def quit(self) -> None:
        """End the slots' task, and whatever runs here."""
        if self._host is not None and not self._left.is_set():
            self._host.let_go()
        self._left.set()

    def leave(self) -> None:
        """Let the files go: they are where they belong."""
        self._done.set()

    async def farewell(self, why: str) -> None:
        """Let what runs here come to its next report, and its files home; return when the worker may go.

        That is when the driver says so, and at the latest when an attempt's grace is over.

        Args:
            why: The worker is about to go.
        """
        if self._left.is_set() or self._worker.status not in (Status.running, Status.paused):
            return
        if not self._leaves:
            self._leaves = True
            self._send_message({"leaves": why})
        try:
            await asyncio.wait_for(self._parted.wait(), self.program.grace_s)
        except TimeoutError:
            if self._host is not None:
                self._host.kill_all()  # the attempt is launched elsewhere as soon as this worker has gone
            self.part()

    def part(self) -> None:
        """End the slots: whatever is wanted of them is where it belongs."""
        self.quit()
        self._done.set()
        self._parted.set()

    async def files(self, slot: str, method: str, *arguments: Any) -> tuple[Any, FilesLost | None]:
        """Call a method of a slot's `Scratch`; return its answer, and what the disk has against it."""
        if slot not in self._files:
            return None, FilesLost("its slot has been closed")
        scratch = self._files[slot].scratch
        try:
            return await asyncio.to_thread(getattr(scratch, method), *arguments), None
        except OSError as error:
            why = f"{error.filename or scratch.run_dir.path}: {error.strerror}"
            return None, NoRoom(why) if error.errno in FULL else FilesLost(why)

    def _look(self, slot: str, asked: RankLaunch) -> None:
        files = self._files[slot]
        if files.running is not asked:
            return
        news = files.scratch.news(asked.launch.folder, asked.seat.rank)
        if news != files.told:
            files.told = news
            self._send_message({"news": (slot, asked.seat.token, *news)})
        self._worker.loop.call_later(_NEWS_S, self._look, slot, asked)

    def _emit(self, slot: str, token: str, item: dict[str, Any]) -> None:
        if "gone" in item:
            if slot in self._files:
                self._files[slot].running = None
            self._turns[slot].leave()  # before that is told: whoever is next needn't wait then
        # What comes in one turn of the loop shares a message.
        if not self._outbox:
            self._worker.loop.add_callback(self._flush)
        self._outbox.append((slot, token, item))

    def _flush(self) -> None:
        items, self._outbox = self._outbox, []
        self._send_message({"items": items})

    def _send_message(self, message: dict[str, Any]) -> None:
        self._worker.log_event(self.topic, {"worker": self._worker.address, **message})


def serve_slots(
    token: str, serial: str, carried: bool, seen: Sequence[Sequence[str] | None]
) -> None:
    """Serve the slots of this worker; submitted as a Dask task."""
    host = get_worker().plugins.get(topic_of(token))
    if host is not None and host.serial == serial:
        host.serve(carried, seen)
