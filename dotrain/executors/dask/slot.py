"""The worker's side of a slot: takes ranks of attempts, runs one after another, sends events."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker
from distributed.comm import get_address_host

from dotrain.core.events import Failed, TrialEvent, to_record
from dotrain.core.failure import Failure
from dotrain.core.strategy import Seat
from dotrain.distribution.launcher import Launcher
from dotrain.distribution.rank import RankLaunch
from dotrain.executors.dask.environment import limit_threads
from dotrain.executors.deaths import cause_of_death, oom_kills
from dotrain.training.attempt import run_attempt
from dotrain.training.channel import Channel
from dotrain.training.failure import describe_failure
from dotrain.training.place import Place
from dotrain.training.program import LoadedProgram, Program, load_program, load_strategy

#: Held by the run whose slot this process serves. Another run may have a slot here too, if its
#: worker has several threads; it waits.
_ONE_RUN = threading.Lock()

#: How often a waiting slot looks whether it is still wanted, in seconds.
_LOOK_S = 0.2


class SlotHost(WorkerPlugin):  # type: ignore[misc]
    """Lives on each worker of a run; one rank of one attempt runs on it at a time.

    Its messages are dicts, on the topic `topic`: ``{"slot": address, "ready": name}`` once, when
    the slot can take its first rank, then ``{"slot": address, "items": [(token, item), ...]}``.
    The token is that of the rank's group; an item is ``{"event": record}`` for what happens,
    ``{"end": record}`` for how the train function ended, or ``{"gone": cause}`` when nothing of the
    rank is left: only then is the slot free.
    """

    def __init__(self, program: Program, *, whole_process: bool) -> None:
        self.program = program
        self.name = topic_of(program.token)
        self.topic = self.name
        self.whole_process = whole_process

    def setup(self, worker: Worker) -> None:
        """Get ready; called by Dask on the worker."""
        self._worker = worker
        self._inbox: queue.SimpleQueue[RankLaunch | None] = queue.SimpleQueue()
        self._current: tuple[str, Channel] | None = None
        self._launcher: Launcher | None = None
        self._outbox: list[tuple[str, dict[str, Any]]] = []
        self._lock = threading.Lock()
        limit_threads(worker.state.nthreads, os.environ)

    def transition(self, key: str, start: str, finish: str, **kwargs: Any) -> None:
        """Notice that the driver is gone: Dask then cancels the slot's task."""
        if key == slot_key(self.program.token, self._worker.address) and finish in (
            "cancelled",
            "released",
            "forgotten",
        ):
            self._leave("the driver is gone")

    def reserve(self) -> tuple[str, str]:
        """Return two free addresses of this machine, for a rank that may run here."""
        host = get_address_host(self._worker.address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with ExitStack() as both:
            servers = [
                both.enter_context(socket.create_server((host, 0), family=family)) for _ in range(2)
            ]
            first, second = (f"{host}:{server.getsockname()[1]}" for server in servers)
        return first, second

    def launch(self, ranks: Mapping[str, RankLaunch]) -> None:
        """Queue the rank that is this worker's, of all ranks by worker."""
        self._inbox.put(ranks[self._worker.address])

    def stop(self, token: str, reason: str) -> None:
        """Let a rank end at its next report."""
        current = self._current
        if current is not None and current[0] == token:
            current[1].stop_reason = reason
        if self._launcher is not None:
            self._launcher.stop(token, reason)

    def kill(self, token: str) -> None:
        """End a rank that has a process of its own."""
        if self._launcher is not None:
            self._launcher.kill(token)

    def quit(self) -> None:
        """End the slot's task: after the attempt that runs in this process, else at once."""
        self._leave("the run is over")

    def _leave(self, reason: str) -> None:
        current = self._current
        if current is not None:
            current[1].stop_reason = reason
        if self._launcher is not None:
            self._launcher.end()
        self._inbox.put(None)

    def serve(self) -> None:
        """Run ranks until told to quit; this is the slot's Dask task."""
        # Global generators, streams and the current folder belong to one trial at a time.
        while not _ONE_RUN.acquire(timeout=_LOOK_S):
            if not self._inbox.empty():
                return
        try:
            strategy = load_strategy(self.program)
            if strategy.own_process:
                self._launcher = Launcher(self.program)
            self._send_message({"ready": str(self._worker.name)})
            if self._launcher is not None:
                self._serve_processes(self._launcher)
                return
            place = Place(strategy)
            loaded = self._load(place)  # while the first attempt is on its way
            while (asked := self._inbox.get()) is not None:
                self._serve_here(asked, loaded, place)
        finally:
            if self._launcher is not None:
                self._launcher.close()
            _ONE_RUN.release()

    def _serve_processes(self, launcher: Launcher) -> None:
        while (asked := self._inbox.get()) is not None:
            killed_before = oom_kills()
            token = asked.seat.token
            code = launcher.run(asked, lambda item, token=token: self._emit(token, item))  # type: ignore[misc]
            cause = cause_of_death(code, oom_kills() > killed_before, "its process")
            self._emit(token, {"gone": cause})

    def _serve_here(self, asked: RankLaunch, loaded: LoadedProgram | Failure, place: Place) -> None:
        token, launch = asked.seat.token, asked.launch
        channel = Channel(lambda event: self._emit(token, {"event": to_record(event)}))
        self._current = token, channel
        event: TrialEvent
        try:
            event = run_attempt(
                loaded,
                launch,
                channel,
                run_dir=self.program.run_dir,
                worker=str(self._worker.name),
                whole_process=self.whole_process,
                place=place,
            )
        except BaseException as error:
            event = Failed(launch.trial_id, launch.attempt, describe_failure(error))
        finally:
            self._current = None
        self._emit(token, {"end": to_record(event)}, {"gone": ""})

    def _load(self, place: Place) -> LoadedProgram | Failure:
        try:
            place.strategy.begin(Seat())
            return load_program(self.program)
        except BaseException as error:
            return describe_failure(error)

    def _emit(self, token: str, *items: dict[str, Any]) -> None:
        # What comes faster than the loop turns shares a message.
        with self._lock:
            waiting = bool(self._outbox)
            self._outbox += [(token, item) for item in items]
            if waiting:
                return
        self._worker.loop.add_callback(self._flush)

    def _flush(self) -> None:
        with self._lock:
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


def call_host(token: str, method: str, *args: Any, dask_worker: Worker) -> Any:
    """Call a method of the run's `SlotHost` on a worker; run by ``client.run``."""
    host = dask_worker.plugins.get(topic_of(token))
    return None if host is None else getattr(host, method)(*args)
