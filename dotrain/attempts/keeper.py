"""The process of a slot: it has the next child ready, and ends whatever an attempt has started.

It is the parent of every process of the slot: of the children, one after another, and, since Linux
lets it adopt them, of what these leave behind. So nothing of an attempt is taken for the next one's: a
child is only told what to do when all that is left of the one before is gone.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from resource import struct_rusage
from typing import NoReturn, Protocol, final

from dotrain.attempts import kernel
from dotrain.attempts.pipe import Pipe, Readable, readable
from dotrain.attempts.sigterm import pass_over
from dotrain.attempts.usage import Meter
from dotrain.attempts.watch import LOOK_S, Verdict

#: How long a resource tracker may take to clean up when all else of an attempt is gone, in seconds.
_CLEAN_UP_S = 1.0
#: How often it is looked at meanwhile, in seconds.
_SOON_S = 0.02
#: A child that ends within this time of its start, unasked, is not replaced before, in seconds.
_TOO_SOON_S = 0.2


class Closable(Protocol):
    """What a process has and a child of it must not have."""

    def close(self) -> None:
        """Close it in this process."""


@final
class Keeper:
    """Serves the slot of one host.

    Messages to the host: ``("keeper", pid)`` once; ``("child", pid)`` with a descriptor, the way to a child that waits to be
    told what to do; ``("gone", pid, code, usage, verdict)`` when it has been told, has ended, and nothing
    that it started is left: with what it has used, and why the keeper has ended it, if it has. From the host: ``("begun", pid)``, ``("kill", pid)``. The end of that connection
    ends everything.
    """

    def __init__(
        self,
        host: Pipe,
        start: Callable[[Pipe, Sequence[Closable]], int],
        meter: Callable[[int], Meter],
    ) -> None:
        """Make a keeper; this process becomes the parent of what orphans leave.

        Args:
            host: The way to the host.
            start: Starts a child, given its end of a new connection, and what isn't for a process
                forked from this one; returns its process id.
            meter: Begins to measure a child that is about to begin, by its process id.
        """
        kernel.adopt_orphans()
        pass_over()
        self._alarm = kernel.Alarm()
        self._host = host
        self._start = start
        self._make_meter = meter
        self._meter: Meter | None = None
        self._verdict: Verdict | None = None
        self._look_s = 0.0
        self._next: int | None = None
        self._next_s = 0.0
        self._current: int | None = None
        #: How children ended that had not begun, as far as is known here, and what they had used.
        self._ended_early: dict[int, tuple[int, float]] = {}
        self._code: int | None = None
        self._ended_s = 0.0
        self._cpu_s = 0.0

    def serve(self) -> NoReturn:
        """Serve until the host is gone."""
        with contextlib.suppress(OSError):
            self._host.send(("keeper", os.getpid()))
            self._ready_next()
            while not self._host.ended:
                ends: list[Readable] = [self._host, self._alarm]
                ready = readable(ends, self._patience_s())
                if self._alarm in ready:
                    self._alarm.clear()
                if self._host in ready:
                    for what, pid in self._host.receive():
                        self._obey(what, pid)
                self._reap()
                if self._code is not None:
                    self._sweep()
                elif self._meter is not None and time.monotonic() >= self._look_s:
                    self._look(self._meter)
                if self._next is None and time.monotonic() > self._next_s + _TOO_SOON_S:
                    self._ready_next()
        self._end()

    def _patience_s(self) -> float | None:
        if self._code is not None or self._next is None:
            return _SOON_S
        return None if self._meter is None else max(0.0, self._look_s - time.monotonic())

    def _look(self, meter: Meter) -> None:
        """End an attempt that uses too much, or does nothing any more."""
        self._look_s = time.monotonic() + LOOK_S
        assert self._current is not None
        if self._verdict is None:
            self._verdict = meter.look(kernel.children() - {self._next, self._current})
            if self._verdict is not None:
                kernel.kill(self._current)

    def _ready_next(self) -> None:
        theirs, ours = Pipe.pair()
        self._next_s = time.monotonic()
        self._next = self._start(theirs, (ours, self._host, self._alarm))
        theirs.close()
        self._host.send(("child", self._next), ours.fileno())
        ours.close()

    def _obey(self, what: str, pid: int) -> None:
        if what == "kill":
            if pid == self._current and self._code is None:
                kernel.kill(pid)
        elif pid == self._next or pid in self._ended_early:
            self._current, self._cpu_s, self._verdict = pid, 0.0, None
            self._meter = self._make_meter(pid)
            self._look_s = time.monotonic() + LOOK_S
            if pid == self._next:
                self._next = None
            else:  # it was told so before we were, and has ended since
                code, self._cpu_s = self._ended_early.pop(pid)
                self._end_current(code)
            if self._next is None:
                self._ready_next()
        else:
            self._host.send(("gone", pid, 1, None, None))

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self._next:
                self._next = None
                self._ended_early[pid] = code, _cpu_s(used)
                continue
            self._cpu_s += _cpu_s(used)
            if pid == self._current:
                self._end_current(code)

    def _end_current(self, code: int) -> None:
        assert self._current is not None
        self._code, self._ended_s = code, time.monotonic()
        kernel.kill_group(self._current)

    def _sweep(self) -> None:
        """End what the attempt has left; tell when nothing is."""
        while left := kernel.children() - {self._next}:
            in_time = time.monotonic() < self._ended_s + _CLEAN_UP_S
            spared = {pid for pid in left if in_time and kernel.cleans_up(pid)}
            for pid in left - spared:
                kernel.kill(pid)
            if spared == left:
                return
            for pid in left - spared:
                with contextlib.suppress(ChildProcessError):
                    self._cpu_s += _cpu_s(os.wait4(pid, 0)[2])
        assert self._meter is not None
        usage = self._meter.usage(self._cpu_s).to_record()
        self._host.send(("gone", self._current, self._code, usage, self._verdict))
        self._current = self._code = self._meter = None

    def _end(self) -> NoReturn:
        while left := kernel.children():
            for pid in left:
                kernel.kill(pid)
            for pid in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        os._exit(0)


def _cpu_s(used: struct_rusage) -> float:
    return used.ru_utime + used.ru_stime
