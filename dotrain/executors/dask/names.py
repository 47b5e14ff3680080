"""What things of a run are called on a cluster."""

from __future__ import annotations


def topic_of(token: str) -> str:
    """Return the name of a run's topic, which is that of its plugin too."""
    return f"dotrain-{token}"


def slot_of(worker: str, index: int) -> str:
    """Return the name of a slot; `worker_of` tells its worker.

    Args:
        worker: The address of its worker.
        index: Which of its slots, from 0.
    """
    return f"{worker}/{index}"


def worker_of(slot: str) -> str:
    """Return the address of a slot's worker."""
    return slot.rpartition("/")[0]


def task_key(token: str, address: str, serial: str) -> str:
    """Return the key of the Dask task behind a worker's slots."""
    return f"{topic_of(token)}-slots-{address}-{serial}"
