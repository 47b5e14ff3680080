"""Threads in a process that is to be forked: there must be no new ones; else, whose they are."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import warnings
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import PurePath
from typing import Any, NamedTuple, final

from dotrain.attempts import kernel
from dotrain.frameworks import registry

#: How long threads may take to end that have been told to, and how often they are looked for, in seconds.
_END_S, _SOON_S = 0.2, 0.01
#: How much of a thread's stack tells where it began, in bytes.
_BEGIN_BYTES = 1 << 16


@contextlib.contextmanager
def one_each() -> Iterator[None]:
    """Let no library compute with a second thread meanwhile, be it loaded yet or not.

    Afterwards each may have as many as the environment gives it.
    """
    from threadpoolctl import ThreadpoolController

    alone = registry.threads(1)
    before = {name: os.environ.get(name) for name in alone}
    pools = ThreadpoolController()
    known = {pool.filepath for pool in pools.lib_controllers}
    os.environ.update(alone)
    try:
        with pools.limit(limits=1):
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        for pool in ThreadpoolController().lib_controllers:
            if pool.filepath not in known:
                pool.set_num_threads(_given(pool))


def _given(pool: Any) -> int:
    """Return how many threads the environment gives a library."""
    for name in (f"{pool.internal_api.upper()}_NUM_THREADS", "OMP_NUM_THREADS"):
        if (word := os.environ.get(name, "").split(",")[0]).isdigit() and int(word):
            return int(word)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@final
class ThreadWatch:
    """What threads have been started in this process since then, and by which library."""

    def __init__(self) -> None:
        self._threads = kernel.threads()
        regions = _regions()
        self._stacks = {stack.begin for stack in _stacks(regions)}
        self._files = {region.file for region in regions}

    def has_new(self) -> bool:
        """Whether there are threads that were not there, and that do not survive a fork.

        Those that are about to end are waited for. By their ids, not their number: one library may
        have ended its own.
        """
        if kernel.threads() <= self._threads:
            return False
        _fork_once()
        deadline_s = time.monotonic() + _END_S
        while not (is_free := kernel.threads() <= self._threads) and time.monotonic() < deadline_s:
            time.sleep(_SOON_S)
        return not is_free

    def libraries(self) -> list[str]:
        """Return the packages in whose code the new threads began, or else that were loaded."""
        regions = _regions()
        code = [(r, _package(r.file)) for r in regions if "x" in r.access]
        begins = [region.begin for region, _ in code]
        found: set[str] = set()
        for stack in _stacks(regions):
            if stack.begin in self._stacks:
                continue
            for word in reversed(_top(stack)):
                index = bisect_right(begins, word) - 1
                if index >= 0 and word < code[index][0].end and code[index][1]:
                    found.add(code[index][1])
                    break
        new = {package for region, package in code if region.file not in self._files}
        return sorted(found or new - {""})


def _fork_once() -> None:
    """Let those end that end before a fork and begin anew when they are needed, as OpenBLAS's do.

    NumPy and SciPy each have their own, which start when they are loaded.
    """
    with warnings.catch_warnings():
        # That there are threads, as Python says since 3.12, and some libraries.
        warnings.simplefilter("ignore")
        pid = os.fork()
        if pid == 0:
            os._exit(0)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # something of the other threads may hold it up
    os.waitpid(pid, 0)


class _Region(NamedTuple):
    begin: int
    end: int
    access: str
    file: str


def _regions() -> list[_Region]:
    """Return what this process has mapped, by address; nothing where the system doesn't tell."""
    found = []
    with contextlib.suppress(OSError), open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            addresses, access, *_, name = [*line.rstrip("\n").split(maxsplit=5), ""][:6]
            begin, end = (int(word, 16) for word in addresses.split("-"))
            found.append(_Region(begin, end, access, name))
    return found


def _stacks(regions: list[_Region]) -> list[_Region]:
    """Return where stacks of threads may be: behind pages that nobody may touch."""
    return [
        region
        for guard, region in pairwise(regions)
        if guard.access.startswith("---")
        and guard.end == region.begin
        and region.access.startswith("rw-")
        and not region.file
    ]


def _top(stack: _Region) -> array[int]:
    """Return the words of the first frames of a stack, which grows downwards."""
    words = array("Q")
    size = min(_BEGIN_BYTES, stack.end - stack.begin)
    with contextlib.suppress(OSError), open("/proc/self/mem", "rb", buffering=0) as memory:
        read = os.pread(memory.fileno(), size, stack.end - size)
        words.frombytes(read[: len(read) // words.itemsize * words.itemsize])
    return words


def _package(file: str) -> str:
    """Return the package that a file was installed with; ``""`` if it is of none."""
    parts = PurePath(file).parts
    for folder in ("site-packages", "dist-packages"):
        if folder in parts[:-1]:
            return parts[parts.index(folder) + 1].removesuffix(".libs")
    return ""
