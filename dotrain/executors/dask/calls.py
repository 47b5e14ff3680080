"""What a driver has a worker run, by ``client.run``."""

from __future__ import annotations

import asyncio
from inspect import isawaitable
from typing import Any

from distributed import Worker

from dotrain.executors.dask import holding
from dotrain.executors.dask.holding import Holder
from dotrain.executors.dask.names import topic_of
from dotrain.executors.dask.site import Question, Site, look_around
from dotrain.executors.dask.slot import SlotHost


async def look(question: Question, dask_worker: Worker) -> tuple[Site, Holder | None]:
    """Return what a worker is asked of its place, and who has it; run by ``client.run``."""
    memory_bytes = dask_worker.memory_manager.memory_limit
    started_with = dask_worker.state.nthreads, memory_bytes
    return await asyncio.to_thread(look_around, question, *started_with), holding.holder()


async def settle(host: SlotHost, dask_worker: Worker) -> None:
    """Put a run's `SlotHost` on a worker; run by ``client.run``."""
    await dask_worker.plugin_add(plugin=host, name=host.name)


async def call_host(
    token: str, method: str, *args: Any, dask_worker: Worker, **options: Any
) -> Any:
    """Call a method of the run's `SlotHost` on a worker, on its loop; run by ``client.run``."""
    host = dask_worker.plugins.get(topic_of(token))
    answer = None if host is None else getattr(host, method)(*args, **options)
    return await answer if isawaitable(answer) else answer
