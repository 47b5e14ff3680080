"""Following a run while it goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from dotrain.core.events import Event, Finished, Reported, Resumed, TrialEvent
from dotrain.core.instructions import Instruction
from dotrain.core.scheduler import Scheduler
from dotrain.report.tensorboard.writer import Writer, begin
from dotrain.store import RunDir, read_journal


class TensorBoard:
    """Observes a run and writes its files; whatever goes wrong with them, the run goes on."""

    def __init__(self, run_dir: RunDir, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Make an observer.

        Args:
            run_dir: Has the journal, and gets the files.
            clock: In seconds; decides when to write, nothing else.
        """
        self._run_dir = run_dir
        self._clock = clock
        self._writer: Writer | None = None
        self._error: Exception | None = None

    def start(self, scheduler: Scheduler) -> None:
        """Write what the journal holds."""
        self._scheduler = scheduler
        try:
            self._writer, _ = begin(self._run_dir, read_journal(self._run_dir.journal), self._clock)
            self._writer.write_all()
        except Exception as error:
            self._give_up(error)

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Note what an event has changed."""
        if self._writer is None:
            return
        book = self._scheduler.book
        try:
            if isinstance(event, TrialEvent):
                metrics = event.metrics if isinstance(event, Reported | Finished) else None
                self._writer.take(book, [event.trial_id], time_s, metrics)
            elif isinstance(event, Resumed):
                self._writer.take_open(book, time_s)
            for instruction in instructions:
                trial_id = getattr(instruction, "trial_id", None)
                if trial_id is not None:
                    self._writer.take(book, [trial_id], time_s)
            self._writer.write_some()
        except Exception as error:
            self._give_up(error)

    def on_pulse(self, time_s: float) -> None:
        """Write what has waited."""
        if self._writer is None:
            return
        try:
            self._writer.write_some()
        except Exception as error:
            self._give_up(error)

    def on_interrupt(self) -> None:
        """Go on until the end."""

    def close(self) -> None:
        """Write the rest; say so if something could not be written."""
        if self._writer is not None:
            try:
                scheduler = self._scheduler
                self._writer.finish(scheduler.book, run_is_over=scheduler.status is not None)
            except Exception as error:
                self._give_up(error)
        if self._error is not None:
            sys.stderr.write(
                f"warning: TensorBoard's files are incomplete: {self._error}; the journal has "
                "everything\n"
            )

    def _give_up(self, error: Exception) -> None:
        self._error, self._writer = error, None
