"""The loop: events from the executor to the scheduler, instructions back, both to the journal."""

from __future__ import annotations

import gc
import math
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType

from dotrain.core.deadlines import TIME_DIGITS
from dotrain.core.events import (
    Event,
    Failed,
    Freed,
    Interrupted,
    Resumed,
    StopAsked,
    TimePassed,
)
from dotrain.core.instructions import Ask, RunStatus
from dotrain.core.observer import Observer, RunView
from dotrain.core.reports import steps_of
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial
from dotrain.errors import ClusterGone, DiskFull, DotrainError, Interrupt
from dotrain.executors.base import AbstractExecutor
from dotrain.runs.asking import AbstractAsker
from dotrain.runs.freeing import Freeing
from dotrain.runs.inheriting import Inheriting
from dotrain.store import Journal, Requests
from dotrain.training.program import Program

#: The longest the loop waits before it looks at the clock and the display again, in seconds.
_PULSE_S = 0.2
#: Set to 1, every invariant of the run's state is asserted after every event.
_VALIDATE = "DOTRAIN_VALIDATE"


class Driver:
    """Runs one experiment to its end.

    Attributes:
        elapsed_s: When the last event was taken in, in seconds since the run began: as in the journal.
        freed: The bytes of checkpoints that it has freed, by trial.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        executor: AbstractExecutor,
        journal: Journal,
        view: RunView,
        observers: Iterable[Observer] = (),
        freeing: Freeing | None = None,
        requests: Requests | None = None,
        asker: AbstractAsker | None = None,
        inheriting: Inheriting | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._executor = executor
        self._journal = journal
        self._view = view
        self._observers = list(observers)
        self._freeing = freeing
        self._requests = requests
        self._asker = asker
        self._inheriting = inheriting
        #: When requests are looked for again, on the executor's clock.
        self._look_s = -math.inf
        self.freed: Counter[str] = Counter()
        self._broken: list[str] = []
        self._interrupts = 0
        self._interrupt_reason = "interrupted by Ctrl-C"
        self._posting = False
        self._validates = os.environ.get(_VALIDATE) == "1"

    def run(
        self, program: Program, *, resumed: Resumed | None = None, from_s: float = 0.0
    ) -> RunStatus:
        """Run until the scheduler says that it is over.

        Args:
            program: What every attempt runs.
            resumed: If the run goes on: under which limits.
            from_s: How long the run has taken before, in seconds.

        Returns:
            How it has ended.

        Raises:
            ResourcesUnavailable: If the executor gets no workers.
            ClusterGone: If the executor loses its cluster; the run can be resumed.
            DiskFull: If a trial has no room in the run directory; the run can be resumed.
            PolicyError: If a plugin breaks its contract, or a sampler can't answer.
            JournalError: If the journal can't be written.
            KeyboardInterrupt: At the second Ctrl-C.
        """
        self.elapsed_s = from_s
        steps = {folder: n for t in self._trials() for folder, n in steps_of(t).items()}
        self._executor.resume_from(from_s, steps)
        self._began_s = self._executor.clock_s() - from_s
        with self._signals(), ExitStack() as finally_:
            # Workers first; each step whatever the others do.
            finally_.callback(gc.unfreeze)
            finally_.callback(self._close_observers)
            if self._inheriting is not None:
                finally_.callback(self._inheriting.close)
            finally_.callback(self._close_executor)
            self._tell("start", self._view)
            self._view.let_go_of_records()
            try:
                if resumed is not None:
                    self._post(resumed)
                    if self._freeing is not None:
                        self.free(self._freeing.at_start())
                if self._scheduler.status is None:
                    program.environment.require()
                    self._executor.start(program, self._post)
                    # What is loaded by now stays; collecting it again and again would hold up
                    # stops by tens of milliseconds.
                    gc.freeze()
                    self._loop()
            except KeyboardInterrupt:
                self._post(Interrupted(self._interrupt_reason))
                if self._interrupts > 1:
                    raise
            except (ClusterGone, DiskFull) as error:
                self._post(Interrupted(str(error)))
                raise
        assert self._scheduler.status is not None
        return self._scheduler.status

    def free(self, freed: Freed | None) -> None:
        """Free checkpoints, if there are any to free: in the journal first, then on the disk."""
        if freed is None or self._freeing is None:
            return
        self._posting = True
        try:
            self._journal.append_event(freed, self.elapsed_s)
            self._scheduler.handle(freed, self.elapsed_s)
            self._journal.commit()
        finally:
            self._posting = False
        self.freed.update(freed.sizes)
        self._freeing.carry_out(freed)

    def _tell(self, method: str, *arguments: object) -> None:
        """Call the observers; one that breaks (its terminal is gone, say) is not called again."""
        for observer in self._observers:
            try:
                getattr(observer, method)(*arguments)
            except (Exception, SystemExit) as error:
                self._observers = [other for other in self._observers if other is not observer]
                what = (
                    f"{type(observer).__name__} watched no longer: {type(error).__name__}: {error}"
                )
                self._broken.append(str(error) if isinstance(error, DotrainError) else what)

    def _close_observers(self) -> None:
        self._tell("close")
        with suppress(OSError):  # that of a terminal that is gone
            sys.stderr.writelines(f"warning: {what}\n" for what in self._broken)

    def _close_executor(self) -> None:
        try:
            if self._interrupts > 1:  # the second came before there was a `close` to break off
                self._executor.abort()
            self._executor.close()
        except KeyboardInterrupt:
            self._executor.abort()
            raise

    def _trials(self) -> Iterable[Trial]:
        return self._scheduler.book.trials.values()

    def _loop(self) -> None:
        scheduler = self._scheduler
        while scheduler.status is None:
            if self._asker is not None and (answers := self._asker.answers()):
                for answer in answers:
                    self._post(answer)
                continue
            if self._inheriting is not None and (due := self._inheriting.next()) is not None:
                self._post(due) if isinstance(due, Event) else self._executor.carry_out(due)
                continue
            deadline = scheduler.next_deadline()
            now = self._now()
            pulse_s = _PULSE_S if self._executor.concurrent else math.inf
            wait_s = pulse_s if deadline is None else max(0.0, min(pulse_s, deadline - now))
            self._executor.pump(wait_s)
            now = self._now()
            self._look_at_requests(now)
            if self._interrupts:
                self._post(Interrupted(self._interrupt_reason))
            elif deadline is not None and deadline <= now:
                self._post(TimePassed())
            self._tell("on_pulse", now)

    def _now(self) -> float:
        # As the journal has it: what is decided by the time is decided alike when it is read.
        return round(self._executor.clock_s() - self._began_s, TIME_DIGITS)

    def _post(self, event: Event) -> None:
        if self._scheduler.status is not None and not isinstance(event, Resumed):
            return
        if isinstance(event, Failed) and event.failure.kind.ends_run:
            # Not recorded: the trial is in flight for whoever goes on with the run.
            raise DiskFull(f"{event.trial_id} can't go on: {event.failure.message}")
        time_s = self.elapsed_s = self._now()
        self._posting = True
        try:
            self._journal.append_event(event, time_s)
            instructions = self._scheduler.handle(event, time_s)
            for instruction in instructions:
                self._journal.append_instruction(instruction, time_s)
            self._journal.commit()
            if self._validates:
                self._scheduler.validate()
        finally:
            self._posting = False
        for instruction in instructions:
            if isinstance(instruction, Ask):
                assert self._asker is not None, "a question, and nobody to put it to"
                self._asker.ask(instruction)
            elif self._inheriting is None or not self._inheriting.holds(instruction):
                self._executor.carry_out(instruction)
        # Of what is late or comes twice, nothing has come but what the time may have brought.
        news = event if self._scheduler.took_in else TimePassed()
        self._tell("on_event", news, instructions, time_s)
        if self._freeing is not None and self._scheduler.status is None:
            self.free(self._freeing.after(event, instructions))
        if not self._executor.concurrent:  # the loop waits for the whole attempt
            self._look_at_requests(time_s)
        if self._interrupts and not isinstance(event, Interrupted):
            self._post(Interrupted(self._interrupt_reason))

    def _look_at_requests(self, now_s: float) -> None:
        """Do what people have asked for; what can't be done yet waits, and what is over is dropped."""
        if self._requests is None or now_s < self._look_s or self._scheduler.status is not None:
            return
        self._look_s = now_s + _PULSE_S
        for path, request in self._requests.pending():
            trial = self._scheduler.book.trials.get(request.trial_id or "")
            if trial is not None and not (trial.state.ended or trial.state.active):
                continue
            try:
                path.unlink()
            except OSError:
                continue  # another's file; it would be taken again and again
            if request.trial_id is None:
                self._interrupt_reason = f"stopped by {request.text}"
                self._interrupts += 1
                self._tell("on_interrupt")
            elif trial is not None and trial.state.active:
                self._post(StopAsked(trial.trial_id, trial.attempt, request.who, request.why))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let the first Ctrl-C (or SIGTERM) end the run cleanly, and the second at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, self._on_signal)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += 1
        if number == signal.SIGTERM:
            self._interrupt_reason = "interrupted by SIGTERM"
        if self._interrupts > 1:
            raise Interrupt
        self._tell("on_interrupt")
        self._executor.interrupt()
        # A function that runs on this very thread is broken off; the state is sound then, except
        # in the middle of taking in an event, which sees the count when it is done.
        if not self._executor.concurrent and not self._posting:
            raise Interrupt
