"""This machine, and the environment of attempts: thread pools that share it instead of fighting for it."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Mapping
from pathlib import Path

import psutil

from dotrain.executors.machine import VISIBLE, Machine
from dotrain.executors.threads import Threads, variables
from dotrain.frameworks import registry


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def this_machine(environment: Mapping[str, str] = os.environ) -> Machine:
    """Return what this machine has for this process.

    Args:
        environment: Where a user, or a cluster's scheduler, says which GPUs are meant.
    """
    return Machine(available_cores(), _gpus(environment), _memory_bytes())


def _gpus(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return NVIDIA's GPUs by the names that CUDA takes, without starting it."""
    said = environment.get(VISIBLE)
    if said is None:
        return tuple(
            str(index) for index in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))
        )
    names = [name.strip() for name in said.split(",")]
    # CUDA sees what stands before the first that is none.
    return tuple(itertools.takewhile(lambda name: name not in ("", "-1", "none", "void"), names))


def _memory_bytes() -> int:
    """Return the memory of this machine, or of the container that it is."""
    found = int(psutil.virtual_memory().total)
    for place in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            found = min(found, int(Path("/sys/fs/cgroup", place).read_text()))
    return found


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
