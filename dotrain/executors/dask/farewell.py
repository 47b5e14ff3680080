"""What happens on a worker that is told to end: its attempt comes to its next report first, within a time.

Whoever tells it sends SIGTERM: Slurm before a job's wall time and at `scancel`, Kubernetes, a spot machine, a person.
It reaches the worker, its nanny, or both, and each of them would go at once:

- A nanny closes, gives its worker some seconds, and kills it. As a plugin of it `NannyFarewell` holds that up.
- A worker without one ends its loop; one with a nanny dies of the signal. `Sigterm` holds that up.

Both ask the run's slot on the worker to say farewell (`slot.py`), which knows nothing of signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, final

from distributed import Nanny, NannyPlugin, Worker, rpc

#: Why a worker leaves, for people.
WHY = "its worker was told to end"
#: How long a worker may take to answer besides, in seconds.
_ANSWER_S = 3.0
#: Says farewell, and returns when the worker may go.
Farewell = Callable[[str], Awaitable[None]]


@final
class Sigterm:
    """Holds up what a worker's process does at SIGTERM; at a second one it does it at once."""

    def __init__(self, worker: Worker, farewell: Farewell) -> None:
        """Listen from here on, where the worker has its process for itself.

        Args:
            worker: It.
            farewell: Of the run that has it.
        """
        self._worker = worker
        self._farewell = farewell
        self._task: asyncio.Task[None] | None = None
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGTERM)
            if self._before is not None:
                signal.signal(signal.SIGTERM, self._on_signal)

    def close(self) -> None:
        """Listen no more."""
        if self._before is not None and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._task is None:
            self._worker.loop.asyncio_loop.call_soon_threadsafe(self._begin)
        else:
            self.close()
            signal.raise_signal(signal.SIGTERM)

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.ensure_future(self._leave())

    async def _leave(self) -> None:
        await self._farewell(WHY)
        self.close()
        if callable(self._before):
            self._before(signal.SIGTERM, None)
        elif self._before is signal.SIG_DFL:
            await self._worker.close(nanny=False, reason="signal-15")


@final
class NannyFarewell(NannyPlugin):  # type: ignore[misc]
    """Holds up the end of a nanny's worker. It stays when its run is over: it asks the worker, which has none then."""

    name = "dotrain-farewell"

    def __init__(self, grace_s: float) -> None:
        """Make it.

        Args:
            grace_s: How long the worker may take, in seconds.
        """
        self._grace_s = grace_s

    async def teardown(self, nanny: Nanny) -> None:
        """Wait until the worker may go; called by Dask when the nanny closes."""
        address = nanny.worker_address
        if address is None or not nanny.is_alive():
            return
        # Whatever is wrong: it ends as it would have.
        with contextlib.suppress(Exception):
            # By itself Dask would try for half a minute to reach a worker that has closed.
            way = rpc(address, timeout=_ANSWER_S, connection_args=nanny.connection_args)
            async with asyncio.timeout(self._grace_s + _ANSWER_S), way as worker:
                await worker.run(function=pickle.dumps(say_farewell))


async def say_farewell(dask_worker: Worker) -> None:
    """Let every run on a worker say farewell; run by its nanny."""
    farewells = [getattr(plugin, "farewell", None) for plugin in dask_worker.plugins.values()]
    await asyncio.gather(*(farewell(WHY) for farewell in farewells if callable(farewell)))


async def attend(grace_s: float, dask_worker: Nanny) -> None:
    """Put a `NannyFarewell` on a nanny; run by ``client.run``, which calls that a worker too."""
    await dask_worker.plugin_add(plugin=NannyFarewell(grace_s), name=NannyFarewell.name)
