"""The environment of attempts: thread pools that share the machine instead of fighting for it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dotrain.executors.threads import Threads, variables
from dotrain.frameworks import registry


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
