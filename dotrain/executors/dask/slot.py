"""The worker's side of a slot: hands ranks to its processes, and sends what they tell."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

import dask
from distributed import Worker, WorkerPlugin, get_worker
from distributed.comm import get_address_host

from dotrain.attempts.host import Host
from dotrain.attempts.launch import RankLaunch
from dotrain.attempts.pipe import Pipe
from dotrain.executors.environment import environment_of_attempts
from dotrain.executors.table import free_addresses
from dotrain.executors.threads import Threads, asked
from dotrain.training.program import Program

#: Held by the run whose slot this process serves. Another run may have a slot here too, if its
#: worker has several threads; it waits.
_ONE_RUN = threading.Lock()

#: How often a waiting slot looks whether it is still wanted, in seconds.
_LOOK_S = 0.2


class SlotHost(WorkerPlugin):  # type: ignore[misc]
    """Lives on each worker of a run; one rank of one attempt runs on it at a time.

    Its messages are dicts, on the topic `topic`: ``{"slot": address, "ready": name}`` once, when
    the slot can take its first rank, then ``{"slot": address, "items": [(token, item), ...]}``, with
    the token of the rank's group, and items as of `attempts.host.Host`.
    """

    def __init__(self, program: Program, threads: int | None) -> None:
        self.program = program
        self.threads = threads
        self.name = topic_of(program.token)
        self.topic = self.name

    def setup(self, worker: Worker) -> None:
        """Get ready; called by Dask on the worker."""
        self._worker = worker
        self._host: Host | None = None
        self._left = threading.Event()
        self._outbox: list[tuple[str, dict[str, Any]]] = []

    def transition(self, key: str, start: str, finish: str, **kwargs: Any) -> None:
        """Notice that the driver is gone: Dask then cancels the slot's task."""
        if key == slot_key(self.program.token, self._worker.address) and finish in (
            "cancelled",
            "released",
            "forgotten",
        ):
            self.quit()

    def serve(self) -> None:
        """Keep the slot open until told to quit; this is its Dask task."""
        while not _ONE_RUN.acquire(timeout=_LOOK_S):
            if self._left.is_set():
                return
        try:
            self._worker.loop.add_callback(self._open)
            self._left.wait()
            if self._host is not None:
                self._host.wait()
        finally:
            _ONE_RUN.release()

    # ---- everything below runs on the worker's loop ----

    def _open(self) -> None:
        if self._left.is_set():
            return
        self._host = Host(
            self.program,
            [self._worker.address],
            environment=self._environment(),
            loop=self,
            emit=self._emit,
        )
        self._send_message({"ready": str(self._worker.name)})

    def watch(self, way: Pipe, call: Callable[[], None]) -> None:
        """As of `attempts.slot.Loop`."""
        self._worker.loop.asyncio_loop.add_reader(way.fileno(), call)

    def unwatch(self, way: Pipe) -> None:
        """As of `attempts.slot.Loop`."""
        if way.fileno() >= 0:
            self._worker.loop.asyncio_loop.remove_reader(way.fileno())

    def _environment(self) -> dict[str, str]:
        environment: Mapping[str, str] = os.environ
        if self._worker.nanny:
            # The one thread that it gives each library nobody has asked for.
            its_own = dask.config.get("distributed.nanny.pre-spawn-environ", {})
            environment = {n: v for n, v in os.environ.items() if str(its_own.get(n)) != v}
        given = Threads(self._worker.state.nthreads, "the worker's")
        return environment_of_attempts(asked(self.threads, environment) or given, environment)

    def reserve(self, *, alone: bool) -> tuple[str, str]:
        """Return two free addresses of this machine, for a rank that may run here.

        Args:
            alone: Whether all ranks are at the host of this worker's address; if that is this
                machine, no other machine need reach them.
        """
        found = free_addresses(get_address_host(self._worker.address))
        return free_addresses("127.0.0.1") if alone else found

    def launch(self, ranks: Mapping[str, RankLaunch]) -> None:
        """Begin the rank that is this worker's, of all ranks by worker."""
        if self._host is not None:
            self._host.begin(self._worker.address, ranks[self._worker.address])

    def stop(self, token: str, reason: str) -> None:
        """Let a rank end at its next report."""
        if self._host is not None:
            self._host.stop(self._worker.address, token, reason)

    def kill(self, token: str) -> None:
        """End a rank now."""
        if self._host is not None:
            self._host.kill(self._worker.address, token)

    def quit(self) -> None:
        """End the slot's task, and whatever runs here."""
        if self._host is not None and not self._left.is_set():
            self._host.let_go()
        self._left.set()

    def _emit(self, slot: str, token: str, item: dict[str, Any]) -> None:
        # What comes in one turn of the loop shares a message.
        if not self._outbox:
            self._worker.loop.add_callback(self._flush)
        self._outbox.append((token, item))

    def _flush(self) -> None:
        items, self._outbox = self._outbox, []
        self._send_message({"items": items})

    def _send_message(self, message: dict[str, Any]) -> None:
        self._worker.log_event(self.topic, {"slot": self._worker.address, **message})


def topic_of(token: str) -> str:
    """Return the name of a run's topic, which is that of its plugin too."""
    return f"dotrain-{token}"


def slot_key(token: str, address: str) -> str:
    """Return the key of a slot's Dask task."""
    return f"{topic_of(token)}-slot-{address}"


def serve_slot(token: str) -> None:
    """Serve the slot of this worker; submitted as a Dask task."""
    get_worker().plugins[topic_of(token)].serve()


async def call_host(
    token: str, method: str, *args: Any, dask_worker: Worker, **options: Any
) -> Any:
    """Call a method of the run's `SlotHost` on a worker, on its loop; run by ``client.run``."""
    host = dask_worker.plugins.get(topic_of(token))
    return None if host is None else getattr(host, method)(*args, **options)
