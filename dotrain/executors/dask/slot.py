"""The worker's side of a slot: hands ranks to its processes, and sends what they tell."""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import isawaitable
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
from dotrain.executors.dask.holding import Holder
from dotrain.executors.dask.scratch import Scratch
from dotrain.executors.dask.site import Question, Site, look_around
from dotrain.executors.dask.turn import Turns
from dotrain.executors.environment import environment_of_attempts
from dotrain.executors.table import free_addresses
from dotrain.executors.threads import Threads, asked
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
    """Lives on a worker of a run; one rank of one attempt runs on it at a time.

    It is put there by the driver itself, worker by worker, and goes when the slot's task does: the scheduler,
    and so a worker that joins later, never hears of it.

    Its messages are dicts, on the topic `topic`: ``{"slot": address, "wants": "environment"}`` once if the
    config has variables, ``{"slot": address, "ready": name}`` once, when the slot can take its first
    rank, or ``{"slot": address, "broken": why}``, then ``{"slot": address, "items": [(token, item), ...]}``, with the token of the rank's group, and
    items as of `attempts.host.Host`. Where files are carried besides
    ``{"slot": address, "news": (token, bytes, name)}``, how long a rank's log is and which its newest
    checkpoint, if either has changed; and at last ``{"slot": address, "quiet": True}`` when nothing runs
    any more.
    """

    def __init__(
        self, program: Program, threads: int | None, owner: Holder, *, waits: bool = False
    ) -> None:
        """Make it on the driver's machine.

        Args:
            program: What attempts run, without its variables.
            threads: Of each attempt's libraries; None are the worker's.
            owner: The run.
            waits: Whether there are variables to ask for.
        """
        self.program = program
        self.threads = threads
        self.owner = owner
        self.waits = waits
        self.name = topic_of(program.token)
        self.topic = self.name
        self.serial = secrets.token_hex(4)

    def anew(self) -> SlotHost:
        """Return one whose slot is told from all before it."""
        return SlotHost(self.program, self.threads, self.owner, waits=self.waits)

    def setup(self, worker: Worker) -> None:
        """Get ready; called by Dask on the worker."""
        self._worker = worker
        self._host: Host | None = None
        #: Where the trials' files lie, if not in the run directory.
        self._scratch: Scratch | None = None
        #: Set when nothing is to begin here any more, and when nobody wants the files.
        self._left, self._done = threading.Event(), threading.Event()
        self._running: RankLaunch | None = None
        #: With the trials' files, where they lie in the run directory itself.
        self._turns = Turns(RunDir(Path(self.program.run_dir)), self.kill)
        self._told: tuple[int, str | None] | None = None
        self._outbox: list[tuple[str, dict[str, Any]]] = []
        self._key = slot_key(self.program.token, worker.address, self.serial)
        self._has_task = False
        worker.loop.call_later(_LEASE_S, self._lapse)

    def teardown(self, worker: Worker) -> None:
        """End whatever runs here if another one takes its place; a worker that closes ends all by itself."""
        if worker.status is Status.running:
            self.quit()
            self._done.set()

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
        self.quit()
        self._done.set()
        if self._worker.plugins.get(self.name) is self:
            del self._worker.plugins[self.name]

    def serve(self, carried: bool) -> None:
        """Keep the slot open until told to quit; this is its Dask task.

        Args:
            carried: Whether the trials' files are carried, so that they lie in a folder of this worker's.
        """
        while not holding.hold(replace(self.owner, since_s=time.time()), _LOOK_S):
            if self._left.is_set():
                return
        try:
            if carried:
                place = self.program.storage
                self._scratch = Scratch(None if place is None else Storage(place))
            self._worker.loop.add_callback(self._open)
            self._left.wait()
            if self._host is not None:
                self._host.wait()
            if self._scratch is not None:
                self._worker.loop.add_callback(self._send_message, {"quiet": True})
                self._done.wait()
        finally:
            if self._scratch is not None:
                self._scratch.remove()
            self._turns.leave()
            holding.let_go()

    # ---- everything below runs on the worker's loop ----

    def _open(self) -> None:
        if self.waits and not self._left.is_set():
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
        if self._scratch is not None:
            program = replace(program, run_dir=str(self._scratch.run_dir.path))
        try:
            self._host = Host(
                program,
                [self._worker.address],
                environment=self._environment(),
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
        given = Threads(self._worker.state.nthreads, "the worker's")
        return environment_of_attempts(asked(self.threads, environment) or given, environment)

    def reserve(self, *, alone: bool) -> tuple[str, str]:
        """Return two free addresses of this machine, for a rank that may run here.

        Args:
            alone: Whether all ranks are at the host of this worker's address; if that is this
                machine, no other machine need reach them.
        """
        found = free_addresses(get_address_host(self._worker.address))
        return free_addresses("127.0.0.1") if alone else found

    async def launch(self, ranks: Mapping[str, RankLaunch]) -> None:
        """Begin the rank that is this worker's, of all ranks by worker."""
        if self._host is None:
            return
        asked = self._running = ranks[self._worker.address]
        if self._scratch is not None:
            self._told = None
            self._worker.loop.call_later(_NEWS_S, self._look, asked)
        # Ranks but the first write nothing that stays.
        elif asked.seat.rank == 0 and not await self._has_turn(asked):
            return
        if not self._left.is_set():
            self._host.begin(self._worker.address, asked)

    def stop(self, token: str, reason: str) -> None:
        """Let a rank end at its next report."""
        if self._host is not None:
            self._host.stop(self._worker.address, token, reason)

    def kill(self, token: str) -> None:
        """End a rank now."""
        if self._host is None:
            return
        if self._turns.give_up(token):
            self._emit(self._worker.address, token, {"gone": "it was not begun"})
        self._host.kill(self._worker.address, token)

    def quit(self) -> None:
        """End the slot's task, and whatever runs here."""
        if self._host is not None and not self._left.is_set():
            self._host.let_go()
        self._left.set()

    def leave(self) -> None:
        """Let the files go: they are where they belong."""
        self._done.set()

    async def files(self, method: str, *arguments: Any) -> tuple[Any, FilesLost | None]:
        """Call a method of the `Scratch`; return its answer, and what the disk has against it."""
        if self._scratch is None:
            return None, FilesLost("its slot has been closed")
        try:
            return await asyncio.to_thread(getattr(self._scratch, method), *arguments), None
        except OSError as error:
            why = f"{error.filename or self._scratch.run_dir.path}: {error.strerror}"
            return None, NoRoom(why) if error.errno in FULL else FilesLost(why)

    def _look(self, asked: RankLaunch) -> None:
        if self._running is not asked or self._scratch is None:
            return
        news = self._scratch.news(asked.launch.trial_id, asked.seat.rank)
        if news != self._told:
            self._told = news
            self._send_message({"news": (asked.seat.token, *news)})
        self._worker.loop.call_later(_NEWS_S, self._look, asked)

    async def _has_turn(self, asked: RankLaunch) -> bool:
        return await self._turns.take(asked.launch.trial_id, asked.seat.token)

    def _emit(self, slot: str, token: str, item: dict[str, Any]) -> None:
        if "gone" in item:
            self._running = None
            self._turns.leave()  # before that is told: whoever is next needn't wait then
        # What comes in one turn of the loop shares a message.
        if not self._outbox:
            self._worker.loop.add_callback(self._flush)
        self._outbox.append((token, item))

    def _flush(self) -> None:
        items, self._outbox = self._outbox, []
        self._send_message({"items": items})

    def _send_message(self, message: dict[str, Any]) -> None:
        self._worker.log_event(self.topic, {"slot": self._worker.address, **message})


def topic_of(token: str) -> str:
    """Return the name of a run's topic, which is that of its plugin too."""
    return f"dotrain-{token}"


def slot_key(token: str, address: str, serial: str) -> str:
    """Return the key of a slot's Dask task."""
    return f"{topic_of(token)}-slot-{address}-{serial}"


def serve_slot(token: str, serial: str, carried: bool) -> None:
    """Serve the slot of this worker; submitted as a Dask task."""
    host = get_worker().plugins.get(topic_of(token))
    if host is not None and host.serial == serial:
        host.serve(carried)


async def look(question: Question) -> tuple[Site, Holder | None]:
    """Return what a worker is asked of its place, and who has it; run by ``client.run``."""
    return await asyncio.to_thread(look_around, question), holding.holder()


async def settle(host: SlotHost, dask_worker: Worker) -> None:
    """Put a run's `SlotHost` on a worker; run by ``client.run``."""
    await dask_worker.plugin_add(plugin=host, name=host.name)


async def call_host(
    token: str, method: str, *args: Any, dask_worker: Worker, **options: Any
) -> Any:
    """Call a method of the run's `SlotHost` on a worker, on its loop; run by ``client.run``."""
    host = dask_worker.plugins.get(topic_of(token))
    answer = None if host is None else getattr(host, method)(*args, **options)
    return await answer if isawaitable(answer) else answer
