"""The worker's side of a slot: takes attempts, runs them one after another, sends events."""

from __future__ import annotations

import os
import queue
import threading
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from dotrain.core.events import Event, Failed, TrialEvent, to_record
from dotrain.core.instructions import Launch
from dotrain.core.trial import Failure
from dotrain.executors.dask.environment import limit_threads
from dotrain.training.attempt import run_attempt
from dotrain.training.channel import Channel
from dotrain.training.failure import describe_failure
from dotrain.training.program import LoadedProgram, Program, load_program

#: Held by the run whose slot this process serves. Another run may have a slot here too, if its
#: worker has several threads; it waits.
_ONE_RUN = threading.Lock()

#: How often a waiting slot looks whether it is still wanted, in seconds.
_LOOK_S = 0.2


class SlotHost(WorkerPlugin):  # type: ignore[misc]
    """Lives on each worker of a run; one attempt runs on it at a time.

    Its messages are dicts, on the topic `topic`: ``{"slot": address, "events": [record, ...]}``,
    or ``{"slot": address, "ready": name}`` once, when the slot can take its first attempt.
    """

    def __init__(self, program: Program, *, whole_process: bool) -> None:
        self.program = program
        self.name = topic_of(program.token)
        self.topic = self.name
        self.whole_process = whole_process

    def setup(self, worker: Worker) -> None:
        """Get ready; called by Dask on the worker."""
        self._worker = worker
        self._inbox: queue.SimpleQueue[Launch | None] = queue.SimpleQueue()
        self._current: tuple[Launch, Channel] | None = None
        self._outbox: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        limit_threads(worker.state.nthreads, os.environ)

    def transition(self, key: str, start: str, finish: str, **kwargs: Any) -> None:
        """Notice that the driver is gone: Dask then cancels the slot's task."""
        if key == slot_key(self.program.token, self._worker.address) and finish in (
            "cancelled",
            "released",
            "forgotten",
        ):
            self.stop(None, None, "the driver is gone")
            self._inbox.put(None)

    def launch(self, launch: Launch) -> None:
        """Queue an attempt."""
        self._inbox.put(launch)

    def stop(self, trial_id: str | None, attempt: int | None, reason: str) -> None:
        """Let an attempt end at its next report; None is whichever runs."""
        current = self._current
        if current is None:
            return
        launch, channel = current
        if trial_id in (None, launch.trial_id) and attempt in (None, launch.attempt):
            channel.stop_reason = reason

    def quit(self) -> None:
        """End the slot's task after the attempt that runs."""
        self.stop(None, None, "the run is over")
        self._inbox.put(None)

    def serve(self) -> None:
        """Run attempts until told to quit; this is the slot's Dask task."""
        # Global generators, streams and the current folder belong to one trial at a time.
        while not _ONE_RUN.acquire(timeout=_LOOK_S):
            if not self._inbox.empty():
                return
        try:
            self._send_message({"ready": str(self._worker.name)})
            loaded = self._load()  # while the first attempt is on its way
            while (launch := self._inbox.get()) is not None:
                self._emit(self._run(launch, loaded))
        finally:
            _ONE_RUN.release()

    def _load(self) -> LoadedProgram | Failure:
        try:
            return load_program(self.program)
        except BaseException as error:
            return describe_failure(error)

    def _run(self, launch: Launch, loaded: LoadedProgram | Failure) -> TrialEvent:
        channel = Channel(self._emit)
        self._current = launch, channel
        try:
            return run_attempt(
                loaded,
                launch,
                channel,
                run_dir=self.program.run_dir,
                worker=str(self._worker.name),
                whole_process=self.whole_process,
            )
        except BaseException as error:
            return Failed(launch.trial_id, launch.attempt, describe_failure(error))
        finally:
            self._current = None

    def _emit(self, event: Event) -> None:
        # Events that come faster than the loop turns share a message.
        with self._lock:
            self._outbox.append(to_record(event))
            if len(self._outbox) > 1:
                return
        self._worker.loop.add_callback(self._flush)

    def _flush(self) -> None:
        with self._lock:
            events, self._outbox = self._outbox, []
        self._send_message({"events": events})

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


def call_host(token: str, method: str, *args: Any, dask_worker: Worker) -> None:
    """Call a method of the run's `SlotHost` on a worker; run by ``client.run``."""
    host = dask_worker.plugins.get(topic_of(token))
    if host is not None:
        getattr(host, method)(*args)
