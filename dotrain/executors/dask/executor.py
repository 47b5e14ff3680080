"""The driver's side: instructions go out, events come back.

Dask's client lives on an event loop in a thread of its own, and so does the table of slots; the
driver's thread and the loop talk through one queue each way.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import math
import os
import queue
import socket
import sys
import threading
import traceback
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotrain.core.events import Event
from dotrain.core.instructions import Instruction
from dotrain.errors import ClusterGone, DotrainError, ResourcesUnavailable
from dotrain.executors.base import AbstractExecutor, Post
from dotrain.executors.dealing import Wish
from dotrain.executors.machine import NOTHING, VISIBLE
from dotrain.executors.threads import Threads, asked
from dotrain.training.environment import Environment, Sealed
from dotrain.training.program import Program, load_strategy

if TYPE_CHECKING:
    from distributed import Client

    from dotrain.executors.dask.slot import SlotHost
    from dotrain.executors.dask.slots import SlotTable

#: The same after a second Ctrl-C.
_ABORT_TIMEOUT_S = 2.0

#: How often what has happened is looked at while the first slot is waited for, in seconds.
_LOOK_S = 0.1
#: How often it is said what is waited for, if that has changed, in seconds.
_SAY_S = 5.0

#: How often the connection to the scheduler is looked at, in seconds.
_WATCH_S = 0.2


def _not_imported(error: Exception) -> str:
    """Return why Dask can't be imported, in a line that names the files to look at."""
    why = " ".join(str(error).split())
    if "dask config file" in why:  # as Dask itself tells of one that it can't read, with its path
        return f"Dask can't be imported: {why}; mend that file, or take it away"
    places = sorted(name for name in os.environ if name.startswith("DASK_"))
    with contextlib.suppress(Exception):  # it may not have come so far
        dask = sys.modules["dask.config"]
        places += [str(file) for file, _ in dask.collect_yaml(dask.paths, return_paths=True)]
    hint = f"; its settings are in {', '.join(places)}" if places else ""
    return f"Dask can't be imported: {type(error).__name__}: {why}{hint}"


class DaskExecutor(AbstractExecutor):
    """Runs attempts on Dask workers, one at a time on each worker process unless the config says what each is to have."""

    sets_variables = True
    shares_machine = True
    stores_files = True
    #: How long the loop's thread may take to end, in seconds.
    _close_timeout_s = 10.0

    def __init__(
        self, workers: int | None, connect_timeout_s: float, threads: int | None = None
    ) -> None:
        """Make an executor; nothing is connected yet.

        Args:
            workers: The most workers to use; None is all.
            connect_timeout_s: How long to wait for a first worker, in seconds.
            threads: Of each worker; None are those that it was started with.
        """
        self._max_workers = workers
        self._connect_timeout_s = connect_timeout_s
        self._threads = threads
        self._events: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._first_slot = threading.Event()
        #: Set while no loop runs.
        self._loop_ended = threading.Event()
        self._loop_ended.set()
        self._closed = False
        #: Whether there is a table of slots.
        self._is_connected = False

    @abstractmethod
    def _connect(self) -> AbstractAsyncContextManager[Client]:
        """Open the connection to a scheduler."""

    def slots(self, per_trial: int) -> int | None:
        """Return the most workers to use, each of them a slot; how many there are, only the cluster knows."""
        return self._max_workers if self.needs == NOTHING else None

    def threads(self, per_trial: int) -> Threads | None:
        """Return what has been asked for; else only the workers know."""
        return asked(self._threads, {}, self.needs.cpus)

    def prepare(self, log_dir: Path, per_trial: int, program: Program | None = None) -> None:
        """Import Dask: that takes longest, and not on the loop's thread.

        Raises:
            ResourcesUnavailable: If its settings are broken: it reads them when it is imported.
        """
        try:
            importlib.import_module("dotrain.executors.dask.slots")
        except Exception as error:
            raise ResourcesUnavailable(_not_imported(error)) from error

    def start(self, program: Program, post: Post) -> None:
        """Connect, and wait until there are slots for one trial."""
        self._program = program
        self._strategy = load_strategy(program)
        self._post = post
        self._thread = threading.Thread(target=self._run_loop, name="dotrain-dask", daemon=True)
        self._loop_ended.clear()
        self._thread.start()
        while not self._first_slot.wait(_LOOK_S):
            self.pump(0)  # what it waits for
        self.pump(0)

    def interrupt(self) -> None:
        """Don't wait for the first slot any longer."""
        self._first_slot.set()

    def carry_out(self, instruction: Instruction) -> None:
        """Hand an instruction to the loop."""
        if self._loop is not None and self._is_connected:
            self._loop.call_soon_threadsafe(self._slots.carry_out, instruction)

    def pump(self, timeout_s: float) -> None:
        """Post what has arrived; wait for something if nothing has."""
        try:
            item = self._events.get(timeout=timeout_s) if timeout_s > 0 else self._events.get(False)
            while True:
                if isinstance(item, BaseException):
                    raise item
                if item is not None:
                    self._post(item)
                item = self._events.get(False)
        except queue.Empty:
            return

    def wake(self) -> None:
        """Let `pump` return."""
        self._events.put(None)

    def abort(self) -> None:
        """Leave the workers to themselves."""
        if self._closed:
            # The interpreter must not go away under the loop.
            self._loop_ended.wait(_ABORT_TIMEOUT_S)

    def close(self) -> None:
        """Let the slots go, and disconnect."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                self._loop.call_soon_threadsafe(self._leave)
            # No join: one that Ctrl-C breaks off takes the thread for ended (Python 3.11).
            moved = self._moved()
            while not self._loop_ended.wait(self._close_timeout_s) and moved < self._moved():
                moved = self._moved()
        self._thread = None

    def _moved(self) -> int:
        """Return how much of trials' files has come or gone so far."""
        return self._slots.carriers.pieces.count if self._is_connected else 0

    def _leave(self) -> None:
        self._end.set()
        if not self._is_connected:
            self._main.cancel()

    # ---- everything below runs on the loop's thread ----

    def _run_loop(self) -> None:
        from dotrain.executors.dask.connection import quiet_dask

        try:
            with quiet_dask():
                asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass  # told to leave before it was connected
        except DotrainError as error:
            self._events.put(error)
        except BaseException as error:
            text = "".join(traceback.format_exception(error))
            self._events.put(ResourcesUnavailable(f"the connection to Dask broke down:\n{text}"))
        finally:
            self._loop = None
            self._first_slot.set()
            self._loop_ended.set()

    async def _serve(self) -> None:
        from dotrain.executors.dask.slots import SlotTable

        main = asyncio.current_task()
        assert main is not None
        self._main = main
        self._end = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        async with self._connect() as client:
            slots = self._slots = SlotTable(
                client,
                self._slot_host(),
                Sealed.of(self._program.environment),
                self._events.put,
                self._events.put,
                wish=self._wish(),
                per_trial=self._strategy.slots,
                max_workers=self._max_workers,
            )
            self._is_connected = True
            watching = asyncio.create_task(self._watch_connection(client))
            keeping = asyncio.create_task(self._keep_workers(slots))
            try:
                await slots.open()
                await self._wait_for_slots(client, keeping)
                await self._end.wait()
                await slots.let_go()
            finally:
                watching.cancel()
                keeping.cancel()
                slots.close()

    def _wish(self) -> Wish:
        most_slots = self.most_trials and self.most_trials * self._strategy.slots
        return Wish(self.needs, most_slots, self._program.environment.values().get(VISIBLE))

    async def _keep_workers(self, slots: SlotTable) -> None:
        """See to it that there are the workers that the run needs; until cancelled.

        Raises:
            ResourcesUnavailable: If none can be had.
        """
        await self._end.wait()

    async def _watch_connection(self, client: Client) -> None:
        """Notice that the scheduler is gone: its slots are, and everything that it knew."""
        address = client.scheduler.address
        while client.status == "running":
            await asyncio.sleep(_WATCH_S)
        if not self._end.is_set():
            self._events.put(ClusterGone(f"the Dask scheduler at {address} is gone"))

    def _slot_host(self) -> SlotHost:
        from dotrain.executors.dask.holding import Holder
        from dotrain.executors.dask.slot import SlotHost

        # Dask logs what a worker can't load: variables go apart from this.
        program = replace(self._program, environment=Environment())
        run_dir = Path(program.run_dir)
        name = f"{run_dir.parent.name}/{run_dir.name}"
        owner = Holder(program.token, name, os.getpid(), socket.gethostname())
        waits = bool(self._program.environment)
        return SlotHost(program, self._threads, owner, cpus=self.needs.cpus, waits=waits)

    async def _wait_for_slots(self, client: Client, keeping: asyncio.Task[None]) -> None:
        """Return when there are slots for one trial.

        Raises:
            ResourcesUnavailable: After the time-out.
        """
        slots, loop = self._slots, asyncio.get_running_loop()
        waits = [asyncio.create_task(event.wait()) for event in (slots.enough, self._end)]
        began_s = loop.time()
        limit_s = math.inf if self.waits else self._connect_timeout_s
        done: set[asyncio.Task[Any]] = set()
        while not done and (left_s := began_s + limit_s - loop.time()) > 0:
            done, _ = await asyncio.wait(
                [*waits, keeping], timeout=min(left_s, _SAY_S), return_when=asyncio.FIRST_COMPLETED
            )
            if not done and left_s > _SAY_S:
                what = await self._waiting_for(client.scheduler.address)
                if not slots.enough.is_set():
                    slots.say(what)
        for task in waits:
            task.cancel()
        if keeping in done:
            keeping.result()
        if not done:
            raise ResourcesUnavailable(await self._too_few(client.scheduler.address))
        self._first_slot.set()

    async def _waiting_for(self, address: str) -> str:
        """Say in a line what a run waits for that has no slots yet."""
        ready, needed = self._slots.ready, self._strategy.slots
        why = "; ".join([*self._slots.waits_for(), *await self._workers_to_come()])
        what = f"waiting for workers of the Dask scheduler at {address}: {ready} of {needed}"
        return f"{what}{': ' if why else ''}{why}"

    async def _workers_to_come(self) -> Sequence[str]:
        """Return in lines what is known of workers that haven't come yet."""
        return ()

    async def _too_few(self, address: str) -> str:
        slots = self._slots
        lines = [*slots.waits_for(), *await self._workers_to_come()]
        why = "".join(f"\n{line}" for line in lines)
        within = f"within {self._connect_timeout_s:g} s (cluster.connect_timeout_s)"
        more = self._more_workers(address)
        if slots.ready:
            what = "workers" if self.needs == NOTHING else f"slots of {self.needs} (resources) each"
            return (
                f"one trial takes {self._strategy.slots} {what} (distribution.workers), and the "
                f"Dask scheduler at {address} has {slots.ready} that got ready {within}; {more}{why}"
            )
        return f"the Dask scheduler at {address} has no worker that got ready {within}; {more}{why}"

    def _more_workers(self, address: str) -> str:
        """Say how to get more workers."""
        return f"start one with: dask worker {address} (a worker serves one run at a time)"
