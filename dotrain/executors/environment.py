"""This machine, and the environment of attempts: thread pools that share it instead of fighting for it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from dotrain.executors.dealing import Offer
from dotrain.executors.gpus import by_name, told_apart, visible
from dotrain.executors.machine import Machine, Needs
from dotrain.executors.threads import Threads, variables
from dotrain.frameworks import registry

_CGROUPS = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Return the number of cores this process may use."""
    return len(_cores())


def _cores() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def this_machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """Return what this machine has for this process.

    Args:
        environment: Where a user, or a cluster's scheduler, says which GPUs are meant.
    """
    return Machine(available_cores(), visible(environment), _memory_bytes())


def this_offer(
    needs: Needs, threads: int, memory_bytes: int | None, environment: Mapping[str, str]
) -> Offer:
    """Return what this process, a worker's, has for a run.

    Args:
        needs: Of each rank.
        threads: That it was started with.
        memory_bytes: That it was started with; None is no limit of its own.
        environment: Where GPUs are named.

    Raises:
        gpus.NotTold: If it can't be told now which GPUs those are.
    """
    own = [_memory_bytes(), *([memory_bytes] if memory_bytes else [])]
    return Offer(
        _name_of_machine(),
        threads,
        _cores(),
        told_apart(environment) if needs.gpus else by_name(environment),
        memory_bytes=min(own),
        machine_bytes=int(psutil.virtual_memory().total),
    )


def _name_of_machine() -> str:
    """Return what no other machine is called, and no other container that has GPUs and memory of its own."""
    boot = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()} {boot}"


def _memory_bytes() -> int:
    """Return the memory of this machine, or of the container or the job that this process is in."""
    found = int(psutil.virtual_memory().total)
    for place in _limits():
        with contextlib.suppress(OSError, ValueError):
            found = min(found, int(place.read_text()))
    return found


def _limits() -> Iterator[Path]:
    """Yield the files that may say how much memory this process has, of all groups that it is in."""
    yield _CGROUPS / "memory.max"
    yield _CGROUPS / "memory" / "memory.limit_in_bytes"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, group = line.split(":", 2)
            if kinds in ("", "memory"):
                name = "memory.limit_in_bytes" if kinds else "memory.max"
                folder = _CGROUPS / kinds / group.lstrip("/")
                yield from (up / name for up in (folder, *folder.parents) if _CGROUPS in up.parents)


def environment_of_attempts(
    threads: Threads, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment of the attempts of one slot; what the user has set, stays.

    Args:
        threads: How many each library may have.
        environment: What the user has set.
    """
    wanted = registry.threads(threads.count)
    return {**registry.environment(), **environment, **variables(threads, wanted, environment)}
