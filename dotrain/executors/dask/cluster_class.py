"""A Dask cluster of some class that a run starts, and ends with itself."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any, final

from distributed import Client

from dotrain.errors import ResourcesUnavailable
from dotrain.executors.dask.jobs import in_queue
from dotrain.executors.dask.scaling import keep, size_of
from dotrain.executors.table import AbstractSlotTable

#: How long a cluster may take to close, in seconds.
CLOSE_S = 60.0


def find_class(path: str) -> Callable[..., Any]:
    """Import the class of a cluster; on the main thread, since some set signal handlers then.

    Args:
        path: ``package.module.Class``.

    Raises:
        ResourcesUnavailable: If there is none.
    """
    module_name, _, name = path.rpartition(".")
    try:
        with _signals_kept():
            found: Callable[..., Any] = getattr(importlib.import_module(module_name), name)
    except Exception as error:
        advice = ""
        package = module_name.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            advice = f"; install it here: pip install {package.replace('_', '-')}"
        elif threading.current_thread() is not threading.main_thread():
            advice = "; it was imported on another thread than the main one, which may be why"
        raise ResourcesUnavailable(
            f"cluster.kind {path} can't be started: {type(error).__name__}: {error}{advice}"
        ) from error
    return found


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Take back what an import does to Ctrl-C: dask_jobqueue's makes it end the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


@final
class OwnCluster:
    """A cluster that lives as long as one driver of a run."""

    def __init__(
        self, cls: Callable[..., Any], path: str, options: Mapping[str, Any], run_dir: Path
    ) -> None:
        """Make it; nothing is started.

        Args:
            cls: Its class.
            path: The name of that, for people.
            options: Its keyword arguments.
            run_dir: The run's directory.
        """
        self._cls = cls
        self._path = path
        self._options, self._jobs = in_queue(cls, options, run_dir)
        self._cluster: Any = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Client]:
        """Start it, connect to it; and close it, whatever happens.

        Raises:
            ResourcesUnavailable: If it can't be started.
        """
        if self._jobs is not None:
            await self._jobs.end()  # those of a driver that was killed
        try:
            try:
                self._cluster = self._cls(**self._options, asynchronous=True)
                await self._cluster
            except Exception as error:
                raise ResourcesUnavailable(
                    f"cluster.kind {self._path} can't be started: {type(error).__name__}: {error}"
                ) from error
            async with Client(self._cluster, asynchronous=True, set_as_default=False) as client:
                yield client
        finally:
            await _to_its_end(self._close())

    async def keep(
        self, slots: AbstractSlotTable, least: int | None, most: int | None, per_trial: int
    ) -> None:
        """See to it that it has the workers that are wanted; until cancelled.

        Args:
            slots: Of the run.
            least: The fewest workers; None leaves them to the class.
            most: The most.
            per_trial: How many slots one trial takes.

        Raises:
            ResourcesUnavailable: If it gives none.
        """
        size = size_of(self._cluster, asyncio.get_running_loop().time)
        if least is None or most is None:
            least = most = size.requested()
        await keep(size, least, most, per_trial, slots.load, slots.say)

    async def to_come(self) -> list[str]:
        """Return in lines what is known of workers that haven't come yet."""
        return [] if self._jobs is None else [await self._jobs.text()]

    async def _close(self) -> None:
        try:
            if self._cluster is not None:
                closed = self._cluster.close()
                if isawaitable(closed):
                    await asyncio.wait_for(closed, CLOSE_S)
        except TimeoutError:
            self._warn(f"has not closed within {CLOSE_S:g} s; look whether it still runs")
        except Exception as error:
            # One that has never got ready may be unable to.
            if getattr(self._cluster, "scheduler_info", {}).get("workers"):
                self._warn(f"didn't close well: {type(error).__name__}: {error}")
        if self._jobs is not None:
            try:
                await self._jobs.end()  # those that it doesn't know of: Ctrl-C has ended an sbatch
            except ResourcesUnavailable as error:
                self._warn(str(error))

    def _warn(self, what: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"warning: cluster.kind {self._path}: {what}\n")


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do something to its end, though this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled
