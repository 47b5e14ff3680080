"""The host's end of a slot: its keeper, the child that waits, and the one that runs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any, Protocol, final

from dotrain.attempts.deaths import cause_of_death, oom_kills
from dotrain.attempts.launch import RankLaunch
from dotrain.attempts.pipe import Pipe, readable
from dotrain.attempts.watch import Verdict
from dotrain.core.events import to_record


class Loop(Protocol):
    """What calls a function, on this thread, whenever something has come."""

    def watch(self, way: Pipe, call: Callable[[], None]) -> None:
        """Begin to."""

    def unwatch(self, way: Pipe) -> None:
        """End it; safe to call twice."""


@final
class Slot:
    """Runs one rank after another.

    Attributes:
        keeper: The way to its keeper; None while there is none.
        keeper_pid: Its process id; None while nobody knows it.
        next: The child that waits to be told what to do, and the way to it.
        current: The one that has been.
        asked: What is run, or waits for a child to run it.
    """

    def __init__(self, loop: Loop, emit: Callable[[str, dict[str, Any]], None]) -> None:
        """Make a slot without a keeper.

        Args:
            loop: Of the host.
            emit: Gets the token of a rank's group, and what the rank tells: see `host.Host`.
        """
        self._loop = loop
        self._emit = emit
        self.keeper: Pipe | None = None
        self.keeper_pid: int | None = None
        self.next: tuple[int, Pipe] | None = None
        self.current: tuple[int, Pipe] | None = None
        self.asked: RankLaunch | None = None
        self._has_told_end = False
        self._held_bytes: int | None = None
        self._oom_kills = oom_kills()

    # ---- its processes come and go ----

    def add(self, child: int, way: Pipe) -> None:
        """Take a child that waits, in the place of one that has died."""
        if self.next is not None:
            self.next[1].close()
        self.next = child, way
        self._begin_next()

    def lose_keeper(self) -> None:
        """Note that the keeper has died, and everything with it."""
        assert self.keeper is not None
        self._loop.unwatch(self.keeper)
        self.keeper.close()
        self.keeper = self.keeper_pid = None
        if self.next is not None:
            self.next[1].close()
            self.next = None
        if self.current is not None:
            self._drain(self.current[1])
            self.give_up("its process was killed, with the one that had started it")

    def gone(self, code: int, usage: dict[str, Any] | None, verdict: Verdict | None) -> None:
        """Note that a child has ended, and nothing that it started is left.

        Args:
            code: Its exit code; a signal is negative.
            usage: What it has used.
            verdict: Why the keeper has ended it, if it has.
        """
        assert self.current is not None
        self._drain(self.current[1])
        if usage is not None and self._held_bytes is not None:
            usage["peak_bytes"] = max(self._held_bytes, usage.get("peak_bytes", 0))
        if verdict is not None and self.asked is not None and not self._has_told_end:
            launch = self.asked.launch
            end = to_record(verdict.event(launch.trial_id, launch.attempt))
            self._emit(self.asked.seat.token, {"end": end})
        peak_bytes = usage.get("peak_bytes") if usage else None
        self.give_up(cause_of_death(code, self._ran_out(code), peak_bytes=peak_bytes), usage)

    def _ran_out(self, code: int) -> bool:
        """Whether the kernel has killed some process for want of memory since it was last asked."""
        if code != -signal.SIGKILL:
            return False
        before, self._oom_kills = self._oom_kills, oom_kills()
        return self._oom_kills > before

    def give_up(self, cause: str, usage: dict[str, Any] | None = None) -> None:
        """Tell that nothing is left of what was asked for, if anything was."""
        if self.current is not None:
            self._loop.unwatch(self.current[1])
            self.current[1].close()
            self.current = None
        asked, self.asked = self.asked, None
        if asked is not None:
            item: dict[str, Any] = {"gone": cause}
            self._emit(asked.seat.token, item if usage is None else {**item, "usage": usage})

    # ---- attempts ----

    def begin(self, asked: RankLaunch) -> None:
        """Run a rank, now that nothing else runs."""
        self.asked, self._has_told_end, self._held_bytes = asked, False, None
        self._begin_next()

    def _begin_next(self) -> None:
        if self.asked is None or self.current is not None or self.next is None:
            return
        assert self.keeper is not None
        self.current, self.next = self.next, None
        pid, way = self.current
        self._loop.watch(way, self._on_child)
        with contextlib.suppress(OSError):  # its keeper tells what has become of it
            way.send(self.asked)
        with contextlib.suppress(OSError):
            self.keeper.send(("begun", pid))

    def _on_child(self) -> None:
        if self.current is not None:
            self._take(self.current[1])
            if self.current[1].ended:
                self._loop.unwatch(self.current[1])  # its keeper tells why
                self._wake_keeper()

    def _take(self, way: Pipe) -> None:
        assert self.asked is not None
        try:
            items = way.receive()
        except Exception:  # the function has written into it
            way.ended = True
            return
        for item in items:
            if "end" in item:
                self._has_told_end, self._held_bytes = True, item.pop("held_bytes")
            self._emit(self.asked.seat.token, item)

    def _drain(self, way: Pipe) -> None:
        """Take what a child has sent before it ended."""
        while not way.ended and readable([way], 0):
            self._take(way)

    def stop(self, token: str, reason: str) -> None:
        """Let the rank of a group end at its next report."""
        if self.current is not None and self._runs(token):
            with contextlib.suppress(OSError):
                self.current[1].send(reason)

    def kill(self, token: str) -> None:
        """End the rank of a group now, whatever it does, or don't begin it."""
        if self.asked is None or not self._runs(token):
            return
        if self.current is None:
            self.give_up("it was not begun")
        elif self.keeper is not None and not (self._has_told_end and self.asked.seat.ranks == 1):
            with contextlib.suppress(OSError):
                self.keeper.send(("kill", self.current[0]))
            self._wake_keeper()

    def _wake_keeper(self) -> None:
        """Let the keeper go on, if the function has stopped it."""
        if self.keeper_pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.keeper_pid, signal.SIGCONT)

    def _runs(self, token: str) -> bool:
        return self.asked is not None and self.asked.seat.token == token
