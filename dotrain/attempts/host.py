"""Where attempts are asked for: the driver of a local run, or a Dask worker.

Everything here runs on one thread, that of the host's loop.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, final

import psutil

from dotrain.attempts.child import RankLaunch
from dotrain.attempts.deaths import cause_of_death, oom_kills
from dotrain.attempts.fork_server import NOTHING, first_level
from dotrain.attempts.pipe import Pipe, readable
from dotrain.attempts.watch import Verdict
from dotrain.core.events import to_record
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
class Slot:
    """The host's end of a slot.

    Attributes:
        name: The slot's.
        keeper: The way to its keeper.
        next: The child that waits to be told what to do, and the way to it.
        current: The one that has been.
        asked: What is run, or waits for a child to run it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.keeper: Pipe | None = None
        self.next: tuple[int, Pipe] | None = None
        self.current: tuple[int, Pipe] | None = None
        self.asked: RankLaunch | None = None
        self.has_told_end = False
        self.held_bytes: int | None = None
        self.oom_kills = 0


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
        watch: Callable[[Pipe, Callable[[], None]], None],
        unwatch: Callable[[Pipe], None],
        emit: Callable[[str, str, dict[str, Any]], None],
        log: Path | None = None,
    ) -> None:
        """Start what attempts are forked from.

        Args:
            program: What every attempt runs.
            names: Of the slots.
            environment: Of the processes, but for what the program's strategy wants.
            watch: Lets a function be called, on this thread, whenever something has come.
            unwatch: Ends that.
            emit: Gets a slot's name, the token of the group, and an item of a rank: ``{"event":
                record}``, ``{"end": record}``, at last ``{"gone": cause, "usage": record}`` when nothing is
                left of it.
            log: Where the output of processes goes that isn't an attempt's; by default to this
                process's own.
        """
        self._program = program
        self._slots = {name: Slot(name) for name in names}
        # What the user has set, stays.
        strategy = load_strategy(program)
        self._environment = {**_NO_THREADS, **strategy.environment(), **environment}
        # Compiled byte code makes the import of a large framework twice as fast.
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self._watch, self._unwatch, self._emit = watch, unwatch, emit
        self._log = log
        self._level = first_level()
        self._is_ready = self._closing = False
        self._keepers: set[int] = set()
        #: How often the fork server has died since it was last of use.
        self._deaths = 0
        self.is_up = False
        self.broken = ""
        self._start()

    # ---- the fork server and the keepers ----

    def _start(self) -> None:
        ours, theirs = Pipe.pair()
        with tempfile.TemporaryFile() as file, ExitStack() as stack:
            pickle.dump(self._program, file)
            file.flush()
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
        self._watch(ours, self._on_server)
        for slot in self._slots.values():
            if slot.keeper is None:
                self._ask_for_keeper(slot)

    def _on_server(self) -> None:
        for what, level in self._server.receive():
            self.is_up = True
            self._level = level
            self._is_ready = what == "ready"
        if self._server.ended and not self._closing:
            self._unwatch(self._server)
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
            if slot.keeper is not None:
                continue
            self._gone(slot, cause)

    def _ask_for_keeper(self, slot: Slot) -> None:
        slot.keeper, theirs = Pipe.pair()
        with contextlib.suppress(OSError):  # it is found to be gone, then
            self._server.send(("keeper",), theirs.fileno())
        theirs.close()
        self._watch(slot.keeper, lambda: self._on_keeper(slot))

    def _on_keeper(self, slot: Slot) -> None:
        assert slot.keeper is not None
        for what, pid, *more in slot.keeper.receive():
            if what == "keeper":
                self._keepers.add(pid)
            elif what == "child":
                self._deaths = 0
                if slot.next is not None:
                    slot.next[1].close()
                slot.next = pid, Pipe.at(slot.keeper.descriptor())
                self._begin_next(slot)
            elif slot.current is not None and slot.current[0] == pid:
                self._on_gone(slot, *more)
        if slot.keeper.ended and not self._closing:
            self._unwatch(slot.keeper)
            slot.keeper.close()
            slot.keeper = None
            if slot.next is not None:
                slot.next[1].close()
                slot.next = None
            if slot.current is not None:
                self._drain(slot)
                self._gone(slot, "its process was killed, with the one that had started it")
            if self._server.ended or self._process.poll() is not None:
                return  # a new one asks for it
            self._ask_for_keeper(slot)

    # ---- attempts ----

    def begin(self, name: str, asked: RankLaunch) -> None:
        """Run a rank on a slot on which nothing runs."""
        slot = self._slots[name]
        slot.asked, slot.has_told_end, slot.held_bytes = asked, False, None
        if self.broken and slot.keeper is None:
            self._gone(slot, self.broken)
        self._begin_next(slot)

    def _begin_next(self, slot: Slot) -> None:
        if slot.asked is None or slot.current is not None or slot.next is None:
            return
        assert slot.keeper is not None
        slot.current, slot.next = slot.next, None
        slot.oom_kills = oom_kills()
        pid, way = slot.current
        self._watch(way, lambda: self._on_child(slot))
        with contextlib.suppress(OSError):  # its keeper tells what has become of it
            way.send(slot.asked)
        with contextlib.suppress(OSError):
            slot.keeper.send(("begun", pid))

    def _on_child(self, slot: Slot) -> None:
        if slot.current is None:
            return
        self._take(slot)
        if slot.current[1].ended:
            self._unwatch(slot.current[1])  # its keeper tells why

    def _take(self, slot: Slot) -> int:
        assert slot.current is not None
        assert slot.asked is not None
        token = slot.asked.seat.token
        try:
            items = slot.current[1].receive()
        except Exception:  # the function has written into it
            slot.current[1].ended = True
            return 0
        for item in items:
            if "end" in item:
                slot.has_told_end, slot.held_bytes = True, item.pop("held_bytes")
            self._emit(slot.name, token, item)
        return len(items)

    def _drain(self, slot: Slot) -> None:
        """Take what a child has sent before it ended."""
        assert slot.current is not None
        while not slot.current[1].ended:
            if not self._take(slot):
                break

    def _on_gone(
        self, slot: Slot, code: int, usage: dict[str, Any] | None, verdict: Verdict | None
    ) -> None:
        self._drain(slot)
        if usage is not None and slot.held_bytes is not None:
            usage["peak_bytes"] = max(slot.held_bytes, usage.get("peak_bytes", 0))
        if verdict is not None and slot.asked is not None and not slot.has_told_end:
            launch = slot.asked.launch
            end = to_record(verdict.event(launch.trial_id, launch.attempt))
            self._emit(slot.name, slot.asked.seat.token, {"end": end})
        peak_bytes = usage.get("peak_bytes") if usage else None
        out_of_memory = oom_kills() > slot.oom_kills
        self._gone(slot, cause_of_death(code, out_of_memory, peak_bytes=peak_bytes), usage)

    def _gone(self, slot: Slot, cause: str, usage: dict[str, Any] | None = None) -> None:
        if slot.current is not None:
            self._unwatch(slot.current[1])
            slot.current[1].close()
            slot.current = None
        asked, slot.asked = slot.asked, None
        if asked is not None:
            item: dict[str, Any] = {"gone": cause}
            self._emit(
                slot.name, asked.seat.token, item if usage is None else {**item, "usage": usage}
            )

    def stop(self, name: str, token: str, reason: str) -> None:
        """Let the rank of a group end at its next report."""
        slot = self._slots[name]
        if slot.current is not None and _runs(slot, token):
            with contextlib.suppress(OSError):
                slot.current[1].send(reason)

    def kill(self, name: str, token: str) -> None:
        """End the rank of a group now, whatever it does, or don't begin it."""
        slot = self._slots[name]
        if slot.asked is None or not _runs(slot, token):
            return
        if slot.current is None:
            self._gone(slot, "it was not begun")
        elif slot.keeper is not None and not (slot.has_told_end and slot.asked.seat.ranks == 1):
            with contextlib.suppress(OSError):
                slot.keeper.send(("kill", slot.current[0]))

    # ---- the end ----

    def let_go(self) -> None:
        """Let what runs end at its next report; nothing is watched or told any more."""
        self._closing = True
        for way in self._ways():
            self._unwatch(way)
        for slot in self._slots.values():
            if slot.asked is not None:
                self.stop(slot.name, slot.asked.seat.token, "the run is over")

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


def _runs(slot: Slot, token: str) -> bool:
    return slot.asked is not None and slot.asked.seat.token == token


def free_addresses(host: str) -> tuple[str, str]:
    """Return two free addresses of a machine, for a rank that may run there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as both:
        servers = [
            both.enter_context(socket.create_server((host, 0), family=family)) for _ in range(2)
        ]
        first, second = (f"{host}:{server.getsockname()[1]}" for server in servers)
    return first, second
