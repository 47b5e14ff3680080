"""Where attempts are asked for: the driver of a local run, or a Dask worker.

Everything here runs on one thread, that of the host's loop.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, final

import psutil

from dotrain.attempts.deaths import cause_of_death
from dotrain.attempts.fork_server import NOTHING, first_level
from dotrain.attempts.launch import RankLaunch
from dotrain.attempts.pipe import Pipe, readable
from dotrain.attempts.slot import Loop, Slot
from dotrain.executors.machine import VISIBLE
from dotrain.temporary import sweep
from dotrain.training.environment import Environment
from dotrain.training.program import Program, load_strategy

#: Against threads that packages start when they are imported and that do nothing then: a process
#: that has any is not forked. pyarrow's allocator, which pandas imports if it is there.
_NO_THREADS = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}

#: How often a fork server may die in a row before any child is there.
_MOST_DEATHS = 5
#: How long attempts may take to come to their next report when the run is over, in seconds.
_STOP_S = 2.0
#: How long processes may take to end when they are let go, in seconds.
_GRACE_S = 3.0


@final
class Host:
    """The processes of some slots.

    Attributes:
        is_up: Whether there is a fork server, importing or ready.
        broken: Why there can be none, or ``""``.
    """

    def __init__(
        self,
        program: Program,
        names: Sequence[str],
        *,
        environment: Mapping[str, str],
        devices: Mapping[str, Sequence[str]] = MappingProxyType({}),
        loop: Loop,
        emit: Callable[[str, str, dict[str, Any]], None],
        log: Path | None = None,
    ) -> None:
        """Start what attempts are forked from.

        Args:
            program: What every attempt runs.
            names: Of the slots.
            environment: Of the processes, but for what the program's strategy and the config want.
            devices: The GPUs that each slot sees, by its name, as `VISIBLE` has them; one that isn't named
                sees what this process does.
            loop: Of this thread.
            emit: Gets a slot's name, the token of the group, and an item of a rank: ``{"event":
                record}``, ``{"leaves": why}`` if it can't stay for long, ``{"end": record}``, at last
                ``{"gone": cause, "usage": record}`` when nothing is left of it.
            log: Where the output of processes goes that isn't an attempt's; by default to this
                process's own.
        """
        # What is written for other processes to read holds no variables.
        self._program = replace(program, environment=Environment())
        self._slots = {name: Slot(loop, partial(emit, name)) for name in names}
        # What the user has set, stays.
        strategy = load_strategy(program)
        self._environment = {**_NO_THREADS, **strategy.environment(), **environment}
        self._environment |= program.environment.values()
        # Compiled byte code makes the import of a large framework twice as fast.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._devices = devices
        self._loop = loop
        self._log = log
        self._level = first_level()
        self._is_ready = self._closing = False
        self._keepers: set[int] = set()
        #: How often the fork server has died since it was last of use.
        self._deaths = 0
        self.is_up = False
        self.broken = ""
        sweep()
        self._start()

    # ---- the fork server and the keepers ----

    def _start(self) -> None:
        ours, theirs = Pipe.pair()
        with tempfile.NamedTemporaryFile() as written, ExitStack() as stack:
            pickle.dump(self._program, written)
            written.flush()
            # For reading only: what a function does to its descriptors is its own affair.
            file = stack.enter_context(open(written.name, "rb"))
            output = stack.enter_context(open(self._log, "ab")) if self._log else None
            passed = (theirs.fileno(), file.fileno())
            arguments = [str(number) for number in (*passed, self._level)]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dotrain.attempts.fork_server", *arguments],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                # Ctrl-C is for the driver alone.
                start_new_session=True,
            )
        theirs.close()
        self._is_ready = False
        self._server = ours
        self._loop.watch(ours, self._on_server)
        for slot in self._slots.values():
            if slot.keeper is None:
                self._ask_for_keeper(slot)

    def _on_server(self) -> None:
        for what, level in self._server.receive():
            self.is_up = True
            self._level = level
            self._is_ready = what == "ready"
        if self._server.ended and not self._closing:
            self._loop.unwatch(self._server)
            self._server.close()
            cause = cause_of_death(self._process.wait(), False, "the process that starts trials")
            # What it dies of when it imports, each attempt is to find out by itself.
            self._level += self.is_up and not self._is_ready
            self._deaths += 1
            if not self.is_up or self._level > NOTHING or self._deaths > _MOST_DEATHS:
                self._give_up(cause)
            else:
                self._start()

    def _give_up(self, cause: str) -> None:
        self.broken = cause
        for slot in self._slots.values():
            if slot.keeper is None:
                slot.give_up(cause)

    def _ask_for_keeper(self, slot: Slot) -> None:
        slot.keeper, theirs = Pipe.pair()
        name = next(name for name, one in self._slots.items() if one is slot)
        own = {VISIBLE: ",".join(self._devices[name])} if name in self._devices else {}
        with contextlib.suppress(OSError):  # it is found to be gone, then
            self._server.send(("keeper", own), theirs.fileno())
        theirs.close()
        self._loop.watch(slot.keeper, lambda: self._on_keeper(slot))

    def _on_keeper(self, slot: Slot) -> None:
        if slot.keeper is None:
            return
        for what, pid, *more in slot.keeper.receive():
            if what == "keeper":
                slot.keeper_pid = pid
                self._keepers.add(pid)
            elif what == "child":
                self._deaths = 0
                slot.add(pid, Pipe.at(slot.keeper.descriptor()))
            elif slot.current is not None and slot.current[0] == pid:
                slot.gone(*more)
        if slot.keeper.ended and not self._closing:
            slot.lose_keeper()
            # Else one is asked for when there is a fork server again.
            if not self._server.ended and self._process.poll() is None:
                self._ask_for_keeper(slot)

    # ---- attempts ----

    def begin(self, name: str, asked: RankLaunch) -> None:
        """Run a rank on a slot on which nothing runs."""
        slot = self._slots[name]
        slot.begin(asked)
        if self.broken and slot.keeper is None:
            slot.give_up(self.broken)

    def stop(self, name: str, token: str, reason: str) -> None:
        """Let the rank of a group end at its next report."""
        self._slots[name].stop(token, reason)

    def kill(self, name: str, token: str) -> None:
        """End the rank of a group now, whatever it does, or don't begin it."""
        self._slots[name].kill(token)

    # ---- the end ----

    def let_go(self) -> None:
        """Let what runs end at its next report; nothing is watched or told any more."""
        self._closing = True
        for way in self._ways():
            self._loop.unwatch(way)
        for slot in self._slots.values():
            if slot.asked is not None:
                slot.stop(slot.asked.seat.token, "the run is over")

    def _ways(self) -> list[Pipe]:
        slots = self._slots.values()
        ways = [slot.keeper for slot in slots if slot.keeper is not None]
        children = [slot.current[1] for slot in slots if slot.current is not None]
        return [self._server, *ways, *children]

    def wait(self) -> None:
        """Return when all processes have ended after `let_go`; whatever takes longer is killed.

        May be called on another thread.
        """
        self._wait_for_attempts(time.monotonic() + _STOP_S)
        for way in self._ways():
            way.hang_up()
        deadline_s = time.monotonic() + _GRACE_S
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill_all()
            self._process.wait()
        for slot in self._slots.values():
            if slot.keeper is not None:
                # One whose fork server was killed is nobody's child that could be waited for.
                while not slot.keeper.ended and (left_s := deadline_s - time.monotonic()) > 0:
                    readable([slot.keeper], left_s)
                    slot.keeper.receive()
                slot.keeper.close()
            for _, way in filter(None, (slot.next, slot.current)):
                way.close()
        self._server.close()

    def _wait_for_attempts(self, deadline_s: float) -> None:
        """Hear what attempts still say, until they have ended or their time is up."""
        while busy := [s for s in self._slots.values() if s.current and s.keeper]:
            left_s = deadline_s - time.monotonic()
            ways = [way for slot in busy if slot.current and slot.keeper
                    for way in (slot.keeper, slot.current[1]) if not way.ended]  # fmt: skip
            if left_s <= 0 or not ways:
                return
            readable(ways, left_s)
            for slot in busy:
                assert slot.current is not None
                assert slot.keeper is not None
                slot.current[1].receive()
                told = slot.keeper.receive()
                if slot.keeper.ended or any(m[:2] == ("gone", slot.current[0]) for m in told):
                    slot.current[1].close()
                    slot.current = None

    def kill_all(self) -> None:
        """Kill every process, whatever it does; `let_go` and `wait` come after it."""
        for pid in (self._process.pid, *self._keepers):
            with contextlib.suppress(psutil.Error):
                parent = psutil.Process(pid)
                for process in (parent, *parent.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        process.kill()
