"""In this process, one trial at a time: debugging, the smallest runs, no start-up cost."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotrain.core.events import Failed, Finished, Lost, SlotsChanged, Stopped, TrialEvent
from dotrain.core.failure import Failure
from dotrain.core.instructions import Instruction, Kill, Launch, Stop
from dotrain.core.strategy import Seat
from dotrain.executors.base import AbstractExecutor, Post
from dotrain.executors.stored import FOLLOW_S, FilesLost, StoredHere, not_kept_text
from dotrain.executors.threads import Threads, asked, fault, variables
from dotrain.frameworks import registry
from dotrain.store import RunDir
from dotrain.training.attempt import run_attempt
from dotrain.training.channel import Channel
from dotrain.training.errors import EarlyStop
from dotrain.training.failure import describe_failure
from dotrain.training.output import captured
from dotrain.training.place import Place
from dotrain.training.program import LoadedProgram, Program, load_program, load_strategy, prepared


class InlineExecutor(AbstractExecutor):
    """In this process, one trial at a time: for a debugger.

    Attempts run inside `pump`, on the driver's own thread. A function that never reports can't be
    killed here; one that does ends at its next report.
    """

    concurrent = False
    runs_in_this_process = True
    runs_on_this_machine = True
    sets_variables = True
    stores_files = True
    schema_rules = ({"properties": {"workers": {"maximum": 1}}},)

    def __init__(self, workers: int | None = None) -> None:
        """Make an executor.

        Args:
            workers: 1 at most.
        """
        self._workers = workers
        #: Variables that are set for the time of the run, as they were before.
        self._set: dict[str, str | None] = {}
        self._queue: deque[Launch] = deque()
        self._running: tuple[Launch, Channel] | None = None
        #: Reports from threads that the train function has started.
        self._from_threads: queue.SimpleQueue[TrialEvent] = queue.SimpleQueue()
        #: What the driver raised at a report: a policy's error, say, and none of the function's.
        self._broken: Exception | None = None
        #: Where files are kept that don't stay in the run directory.
        self._stored: StoredHere | None = None

    def problems(self) -> Iterable[tuple[tuple[str, ...], str]]:
        """Refuse a second worker."""
        if self._workers not in (None, 1):
            yield ("workers",), "kind 'inline' runs one trial at a time; expected 1"
        if message := fault(None, os.environ):
            yield ("threads",), message

    def slots(self, per_trial: int) -> int:
        """Return 1."""
        return 1

    def threads(self, per_trial: int) -> Threads | None:
        """Return what the environment asks for: libraries that are loaded can't be told any more."""
        return asked(None, os.environ)

    def start(self, program: Program, post: Post) -> None:
        """Offer the one slot."""
        self._post = post
        self._thread = threading.get_ident()
        self._program = program
        self._set_variables(program.environment.values())
        self._limit_threads()
        self._loaded: LoadedProgram | Failure | None = None
        self._followed_s = 0.0
        if program.storage is not None:
            self._stored = StoredHere(program, self._say)
            self._program = self._stored.inside(program)
        post(SlotsChanged(1))
        if program.storage is not None:
            self._say(f"files: storage: {program.storage.top} (this process)")

    def _say(self, what: str) -> None:
        self._post(SlotsChanged(1, what))

    def _limit_threads(self) -> None:
        """Tell libraries that don't look at it themselves what the user's variable says."""
        threads = self.threads(1)
        if threads is not None:
            wanted = registry.threads(threads.count)
            self._set_variables(variables(threads, wanted, os.environ))

    def _set_variables(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            self._set.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def carry_out(self, instruction: Instruction) -> None:
        """Queue a launch; flag a stop."""
        match instruction:
            case Launch():
                self._queue.append(instruction)
            case Stop() | Kill() if self._running is not None:
                launch, channel = self._running
                if (launch.trial_id, launch.attempt) == (instruction.trial_id, instruction.attempt):
                    channel.stop(instruction.reason)

    def pump(self, timeout_s: float) -> None:
        """Run one queued attempt to its end."""
        if not self._queue:
            return
        launch = self._queue.popleft()
        if self._stored is not None:
            try:
                self._stored.hand_out(launch.folder)
            except FilesLost as error:
                self._send(Lost(launch.trial_id, launch.attempt, str(error)))
                return
        if self._loaded is None:
            self._loaded = self._load(launch)
        if isinstance(self._loaded, Failure):
            failed = Failed(launch.trial_id, launch.attempt, self._loaded)
            self._send(self._keep_files(launch, failed))
            return
        channel = Channel(self._report)
        self._running = launch, channel
        try:
            event = run_attempt(
                self._loaded,
                launch,
                channel,
                worker="inline",
                place=self._place,
                capture=captured,
            )
        finally:
            self._running = None
        event = self._keep_files(launch, event)
        if self._broken is not None:
            raise self._broken
        self._send(event)

    def _keep_files(self, launch: Launch, event: TrialEvent) -> TrialEvent:
        """Keep the files of an attempt; return how it has ended, which may be that they are lost."""
        if self._stored is None:
            return event
        try:
            skipped = self._stored.bring_home(launch.folder)
        except FilesLost as error:
            is_well = isinstance(event, Finished | Stopped)
            return Lost(launch.trial_id, launch.attempt, str(error)) if is_well else event
        if skipped:
            self._say(not_kept_text(launch.folder, skipped))
        return event

    def _load(self, launch: Launch) -> LoadedProgram | Failure:
        """Import the user's functions; what libraries say then goes to the log of the first trial."""
        try:
            log = RunDir(Path(self._program.run_dir)).trial_log(launch.folder)
            log.parent.mkdir(parents=True, exist_ok=True)
            with captured(log):
                strategy = load_strategy(self._program)
                self._place = Place(strategy)
                strategy.begin(Seat())
                return prepared(load_program(self._program))
        except (Exception, SystemExit) as error:
            return describe_failure(error)

    def _report(self, event: TrialEvent) -> None:
        """Post from within the train function, which the driver's own errors must not go through."""
        if self._broken is None:
            try:
                stored, running = self._stored, self._running
                if stored and running and time.monotonic() > self._followed_s + FOLLOW_S:
                    self._followed_s = time.monotonic()
                    stored.follow(running[0].folder)
                self._send(event)
                return
            except Exception as error:
                self._broken = error
        raise EarlyStop("the run can't go on")

    def _send(self, event: TrialEvent) -> None:
        if threading.get_ident() != self._thread:
            self._from_threads.put(event)
            return
        while not self._from_threads.empty():
            self._post(self._from_threads.get())
        self._post(event)

    def close(self) -> None:
        """Nothing runs between two calls of `pump`."""
        self._queue.clear()
        if self._stored is not None:
            self._stored.close()
        for name, value in self._set.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._set = {}
