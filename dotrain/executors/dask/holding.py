"""Which run holds a worker process: one at a time, whatever the number of its threads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Holder:
    """A run that has a worker.

    Attributes:
        token: Names the run; unique.
        run: Its name, for people.
        pid: Its driver's.
        host: Where that runs.
        since_s: When it got the worker, in seconds since 1970.
    """

    token: str
    run: str
    pid: int
    host: str
    since_s: float = 0.0


_ONE_RUN = threading.Lock()
_holder: Holder | None = None


def hold(holder: Holder, timeout_s: float) -> bool:
    """Let a run have this process; return whether it does.

    Args:
        holder: The run.
        timeout_s: How long to wait for the one before, in seconds.
    """
    global _holder
    if not _ONE_RUN.acquire(timeout=timeout_s):
        return False
    _holder = holder
    return True


def let_go() -> None:
    """Let the next run have this process."""
    global _holder
    _holder = None
    _ONE_RUN.release()


def holder() -> Holder | None:
    """Return which run has this process, if any."""
    return _holder


def held_text(held: Iterable[Holder]) -> str:
    """Return in a line which runs hold workers.

    Args:
        held: The holder of each worker that is held.
    """
    counts: Counter[str] = Counter()
    since: dict[str, float] = {}
    for one in held:
        name = f"{one.run}|{one.pid} on {one.host}"
        counts[name] += 1
        since[name] = min(one.since_s, since.get(name, one.since_s))
    parts = []
    for name, number in sorted(counts.items()):
        run, _, where = name.rpartition("|")
        workers = "1 worker is" if number == 1 else f"{number} workers are"
        at = time.strftime("%H:%M", time.localtime(since[name]))
        parts.append(f"{workers} held by run {run} since {at} (pid {where})")
    return "; ".join(parts)
