"""Processes on this machine, and nothing between them and the driver."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dotrain.core.events import Event
from dotrain.core.instructions import Finish, Instruction
from dotrain.errors import ResourcesUnavailable
from dotrain.executors.base import AbstractExecutor, Post
from dotrain.executors.environment import available_cores, environment_of_attempts, this_machine
from dotrain.executors.local_table import LocalTable, StoringTable
from dotrain.executors.stored import StoredHere
from dotrain.executors.threads import Threads, asked, fault, share

if TYPE_CHECKING:
    from dotrain.attempts.host import Host
    from dotrain.attempts.pipe import Pipe
    from dotrain.training.program import Program

#: How often a start looks whether it is still wanted, in seconds.
_LOOK_S = 0.1
#: How much of what the processes have said themselves an error message shows, in lines.
_LAST_LINES = 5


class Local(AbstractExecutor):
    """Worker processes on this machine."""

    runs_on_this_machine = True
    sets_variables = True
    shares_machine = True
    stores_files = True

    def __init__(
        self, connect_timeout_s: float, workers: int | None = None, threads: int | None = None
    ) -> None:
        """Make an executor.

        Args:
            connect_timeout_s: How long to wait for a first worker, in seconds.
            workers: How many; by default one per core, and enough for one trial.
            threads: Of each; by default their share of the cores.
        """
        self._connect_timeout_s = connect_timeout_s
        self._workers = workers
        self._threads = threads
        self._host: Host | None = None
        self._table: LocalTable
        #: The same, if files are kept in a storage.
        self._storing: StoringTable | None = None
        self._interrupted = False
        self._closed = False
        #: What `wake` writes to, while there is anything to wake.
        self._waker: socket.socket | None = None

    def problems(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Refuse a number of threads in the environment that is none."""
        if message := fault(self.needs.cpus or self._threads, os.environ):
            yield ("threads",), message

    def slots(self, per_trial: int) -> int:
        """Return the workers asked for, or so many as have what each needs, or one per core."""
        if self._workers:
            return self._workers
        # Who asks for cores or GPUs has said what bounds it.
        is_bounded = self.needs.cpus is not None or bool(self.needs.gpus)
        rooms = (
            this_machine().slots(self.needs),
            None if is_bounded else available_cores(),
            None if self.most_trials is None else self.most_trials * per_trial,
        )
        return max(per_trial, min(room for room in rooms if room is not None))

    def gpus(self, per_trial: int) -> Sequence[Sequence[str]] | None:
        """Return what is dealt out; nothing is where there isn't enough."""
        return (
            None if self.lack(per_trial) else this_machine().deal(self.needs, self.slots(per_trial))
        )

    def lack(self, per_trial: int) -> str:
        """Say of what this machine has too little for all slots."""
        return this_machine().lack(self.needs, self.slots(per_trial))

    def threads(self, per_trial: int) -> Threads:
        """Return what has been asked for, else a share of the cores."""
        found = asked(self._threads, os.environ, self.needs.cpus)
        return found or share(available_cores(), self.slots(per_trial))

    def prepare(self, log_dir: Path, per_trial: int, program: Program | None = None) -> None:
        """Start what attempts are forked from, which imports while the driver gets ready."""
        self._log = log_dir / "workers.log"
        self._count = self.slots(per_trial)
        self._environment = environment_of_attempts(self.threads(per_trial))
        if program is not None:
            self._open(program)

    def _open(self, program: Program) -> Host:
        from dotrain.attempts.host import Host

        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._selector = selectors.DefaultSelector()
        self._events: deque[Event] = deque()
        names = [f"worker-{index}" for index in range(self._count)]
        # The config's own variables may say which GPUs are meant.
        machine = this_machine({**os.environ, **program.environment.values()})
        if lack := machine.lack(self.needs, self._count):
            raise ResourcesUnavailable(f"env: leaves only {lack} (resources)")
        wakes, self._waker = socket.socketpair()
        wakes.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(wakes, selectors.EVENT_READ, lambda: wakes.recv(4096))
        self._wakes = wakes
        dealt = machine.deal(self.needs, self._count)
        if program.storage is None:
            self._table = LocalTable(self._events.append, names)
        else:
            program = self._store(program, names)
        self._host = self._table.host = Host(
            program,
            names,
            environment=self._environment,
            devices=dict(zip(names, dealt or (), strict=False)),
            loop=self,
            emit=self._table.on_item,
            log=self._log,
        )
        return self._host

    def _store(self, program: Program, names: Sequence[str]) -> Program:
        """Let trials write where their files are kept from; return the program with that."""
        stored = StoredHere(program, lambda what: table.say(what), copies=len(names))
        self._table = self._storing = table = StoringTable(self._events.append, names, stored)
        self._selector.register(table.wakes, selectors.EVENT_READ, table.on_done)
        return stored.inside(program)

    def start(self, program: Program, post: Post) -> None:
        """Wait until there is what attempts are forked from."""
        self._post = post
        host = self._host or self._open(program)
        deadline_s = time.monotonic() + self._connect_timeout_s
        while not (host.is_up or host.broken or self._interrupted):
            self._turn(_LOOK_S)
            if time.monotonic() > deadline_s:
                break
        if self._interrupted:
            return
        if host.broken or not host.is_up:
            within = f"within {self._connect_timeout_s:g} s (cluster.connect_timeout_s)"
            raise ResourcesUnavailable(
                f"no local worker got ready: {host.broken or within}; its last words:\n"
                + self._last_words()
            )
        self._table.open()
        if self._storing is not None and program.storage is not None:
            workers = "1 worker" if self._count == 1 else f"{self._count} workers"
            self._storing.say(f"files: storage: {program.storage.top} ({workers})")
        self.pump(0)

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return "\n".join([f"  {self._log}:", *(f"    {line}" for line in lines)])

    def interrupt(self) -> None:
        """Don't wait for the processes any longer."""
        self._interrupted = True

    def carry_out(self, instruction: Instruction) -> None:
        """Begin or end attempts."""
        if not (self._closed or isinstance(instruction, Finish)):
            self._table.carry_out(instruction)

    def pump(self, timeout_s: float) -> None:
        """Post what has happened; wait for something if nothing has."""
        if not self._events:
            self._turn(timeout_s)
        if self._storing is not None and self._storing.broken is not None:
            raise self._storing.broken
        while self._events:
            self._post(self._events.popleft())

    def wake(self) -> None:
        """Let `pump` return."""
        with contextlib.suppress(OSError, AttributeError):  # enough is written, or all is closed
            self._waker.send(b".")  # type: ignore[union-attr]

    def _turn(self, timeout_s: float) -> None:
        due_s = self._table.due_s()
        if due_s is not None:
            timeout_s = min(timeout_s, due_s - time.monotonic())
        for key, _ in self._selector.select(max(0.0, timeout_s)):
            # What came before in this turn may have ended it.
            if key.fd in self._selector.get_map():
                key.data()
        self._table.run_due()

    def watch(self, way: Pipe, call: Callable[[], None]) -> None:
        """As of `attempts.slot.Loop`."""
        self._selector.register(way, selectors.EVENT_READ, call)

    def unwatch(self, way: Pipe) -> None:
        """As of `attempts.slot.Loop`."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(way)

    def abort(self) -> None:
        """Kill every process."""
        if self._host is not None:
            self._host.kill_all()

    def close(self) -> None:
        """End every process."""
        if self._closed:
            return
        self._closed = True
        if self._host is not None:
            self._host.let_go()
            self._host.wait()
            if self._storing is not None:
                self._storing.keep_last()
                self._storing.close()
            self._selector.close()
            self._wakes.close()
            if self._waker is not None:
                self._waker.close()
            self._host = None
