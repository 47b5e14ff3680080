"""The environment of workers: thread pools that share the machine instead of fighting for it."""

from __future__ import annotations

import os

from dotrain.frameworks import registry


def available_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_threads(threads: int, environment: dict[str, str] | os._Environ[str]) -> None:
    """Keep libraries that are loaded later to `threads` threads, unless the user said otherwise."""
    for name, value in registry.threads(threads).items():
        environment.setdefault(name, value)


def local_worker_environment(workers: int, cores: int) -> dict[str, str]:
    """Return the environment of one of `workers` worker processes that share this machine.

    Args:
        workers: How many there are.
        cores: How many cores they share.
    """
    environment = {**registry.environment(), **os.environ}
    limit_threads(max(1, cores // workers), environment)
    # Compiled byte code makes the import of a large framework twice as fast.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.setdefault("DASK_LOGGING__DISTRIBUTED", "warning")
    environment.setdefault("DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED", "False")
    # Dask estimates the size of a message by a sample, drawn from Python's global generator: a
    # trial's random numbers would depend on the timing of heartbeats.
    environment["DASK_DISTRIBUTED__COMM__OFFLOAD"] = "False"
    environment.setdefault("DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH", "10")
    return environment
