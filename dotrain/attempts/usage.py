"""Looks at an attempt's processes: what they do, what they use.

From ``/proc`` where there is one, which is cheap, else by psutil.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import final

import psutil

from dotrain.attempts.watch import Look, Memory, Verdict, Watch
from dotrain.core.usage import Usage

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_KB = 1024
#: psutil's names of states that differ from the kernel's letters.
_STATES = {psutil.STATUS_STOPPED: "T", psutil.STATUS_TRACING_STOP: "t", psutil.STATUS_ZOMBIE: "Z"}


@final
class Meter:
    """Watches the processes of one attempt, and says at its end what they have used."""

    def __init__(
        self,
        root: int,
        *,
        forked: bool,
        memory_bytes: float | None = None,
        silent_s: float | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin; to be called before the train function begins.

        Args:
            root: Process id of the attempt.
            forked: Whether what it holds by now is shared with the process it was forked from.
            memory_bytes: The most that the attempt may hold beyond that; None is no limit.
            silent_s: The longest it may show no sign of life, in seconds; None is no limit.
            clock_s: Seconds on a clock that never goes back.
        """
        held = held_bytes(root)
        baseline = Memory(0, shared=held) if forked else Memory(held)
        self._watch = Watch(baseline, memory_bytes=memory_bytes, silent_s=silent_s)
        self._root = root
        self._clock_s = clock_s

    def look(self, orphans: Iterable[int] = ()) -> Verdict | None:
        """Look now; to be called every `LOOK_S`.

        Args:
            orphans: Descendants of the attempt that have lost their parents.

        Returns:
            Why to end the attempt, or None.
        """
        pids = with_descendants([self._root, *orphans])
        seen = look_at(pids, self._clock_s())
        if seen.state in ("", "Z"):
            return None
        verdict = self._watch.look(seen)
        if verdict is None and self._watch.is_to_weigh:
            begin_s = time.thread_time()
            verdict = self._watch.weigh(weigh(pids), time.thread_time() - begin_s)
        return verdict

    def usage(self, cpu_s: float | None = None) -> Usage:
        """Return what the attempt has used.

        Args:
            cpu_s: Processor time of all its processes, where it is known more exactly than by
                looking: from waiting for them.
        """
        cpu_s = self._watch.cpu_s if cpu_s is None else cpu_s
        return Usage(round(cpu_s, 3), self._watch.peak_bytes)


def with_descendants(roots: Iterable[int]) -> list[int]:
    """Return process ids with those of all their descendants, each once, in that order."""
    found: dict[int, None] = {}
    for root in roots:
        found[root] = None
        if _tells_children():
            waiting = [root]
            while waiting:
                new = [child for child in _children(waiting.pop()) if child not in found]
                found.update(dict.fromkeys(new))
                waiting += new
        else:
            with contextlib.suppress(psutil.Error):
                found.update((p.pid, None) for p in psutil.Process(root).children(recursive=True))
    return list(found)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            # A thread may end meanwhile; its children are another's then.
            found += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return found


@cache
def _tells_children() -> bool:
    pid = os.getpid()
    return os.path.exists(f"/proc/{pid}/task/{pid}/children")


@cache
def _tells_memory() -> bool:
    return os.path.exists("/proc/self/smaps_rollup")


@cache
def _is_linux() -> bool:
    return os.path.exists("/proc/self/stat")


def look_at(pids: Sequence[int], time_s: float) -> Look:
    """Return what processes do and have done; those that are gone are passed over.

    Args:
        pids: Their ids; the first one's state is told.
        time_s: Now.
    """
    state, cpu_s, moved, held_bytes, processes = "", 0.0, 0, 0, 0
    counted = True
    for pid in pids:
        one = _look_at(pid) if _is_linux() else _ask_psutil(pid)
        if one is None:
            continue
        if pid == pids[0]:
            state = one.state
        processes += 1
        cpu_s += one.cpu_s
        held_bytes += one.held_bytes
        counted = counted and one.moved is not None
        moved += one.moved or 0
    return Look(time_s, state, cpu_s, moved if counted else None, held_bytes, processes)


def _look_at(pid: int) -> Look | None:
    stat = _read(f"/proc/{pid}/stat")
    if not stat:
        return None
    # A process may call itself ') R', so from the last bracket.
    fields = stat[stat.rindex(b")") + 2 :].split()
    faults = int(fields[9]) + int(fields[10])
    # Its own processor time, and that of the children it has waited for.
    cpu_s = sum(map(int, fields[11:15])) / _TICKS
    io = _numbers(_read(f"/proc/{pid}/io"))
    moved = io[b"rchar"] + io[b"wchar"] + faults if b"rchar" in io else None
    return Look(0.0, fields[0].decode(), cpu_s, moved, held_bytes(pid))


def _ask_psutil(pid: int) -> Look | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            cpu = process.cpu_times()
            state = _STATES.get(process.status(), "S")
            return Look(0.0, state, cpu.user + cpu.system, None, process.memory_info().rss)
    except psutil.Error:
        return None


def held_bytes(pid: int) -> int:
    """Return what a process has written to and holds, whoever shares it; 0 if it is gone.

    Cheap: the kernel has the number.
    """
    if not _is_linux():
        with contextlib.suppress(psutil.Error):
            return int(psutil.Process(pid).memory_info().rss)
        return 0
    status = _numbers(_read(f"/proc/{pid}/status"))
    return _KB * sum(status.get(key, 0) for key in (b"RssAnon", b"RssShmem", b"VmSwap"))


def weigh(pids: Iterable[int]) -> Memory:
    """Return what processes hold together; those that are gone hold nothing."""
    parts = [_weigh(pid) for pid in pids]
    return Memory(*(sum(column) for column in zip(*parts, strict=True))) if parts else Memory(0)


def _weigh(pid: int) -> Memory:
    if not _tells_memory():
        with contextlib.suppress(psutil.Error):
            full = psutil.Process(pid).memory_full_info()
            return Memory(full.uss, max(0, getattr(full, "pss", 0) - full.uss))
        return Memory(0)
    sizes = _numbers(_read(f"/proc/{pid}/smaps_rollup"))

    def size(*keys: bytes) -> int:
        return sum(sizes.get(key, 0) for key in keys) * _KB

    # Older kernels don't tell files that are only read from the rest.
    written = size(b"Pss_Anon", b"Pss_Shmem") if b"Pss_Anon" in sizes else size(b"Pss")
    private = size(b"Private_Dirty")
    swapped = size(b"SwapPss")
    return Memory(private + swapped, max(0, written - private), size(b"Shared_Dirty"))


def _read(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, 65536)
    except OSError:
        return b""
    finally:
        os.close(file)


def _numbers(text: bytes) -> dict[bytes, int]:
    """Return the numbers of lines like ``Name:   12 kB``."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(b":")
        first = rest.split(maxsplit=1)[:1]
        if first and first[0].isdigit():
            found[name] = int(first[0])
    return found
