"""Following a run while it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import util

from dotrain.core.events import Event, Finished, Reported, Resumed, TrialEvent
from dotrain.core.instructions import Instruction
from dotrain.core.observer import Observer, RunView
from dotrain.errors import DotrainError
from dotrain.report.tensorboard.writer import begin
from dotrain.store import RunDir


class TensorBoard(Observer):
    """Write TensorBoard's event files into the run directory; `tensorboard` is the same.

    Attributes:
        clock: In seconds; decides when to write, nothing else.
    """

    def __init__(self) -> None:
        """Make an observer.

        Raises:
            ValueError: If TensorBoard is not installed.
        """
        if util.find_spec("tensorboard") is None:
            raise ValueError(
                "TensorBoard is not installed: pip install 'dotrain[tensorboard]', or take it out"
            )
        self.clock = time.monotonic

    def start(self, run: RunView) -> None:
        """Write what the journal holds."""
        self._run = run
        with _explained():
            self._writer, _ = begin(RunDir(run.run_dir), run.records, self.clock)
            self._writer.write_all()

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Note what an event has changed."""
        trials = self._run.trials
        with _explained():
            if isinstance(event, TrialEvent):
                metrics = event.metrics if isinstance(event, Reported | Finished) else None
                self._writer.take(trials, [event.trial_id], time_s, metrics)
            elif isinstance(event, Resumed):
                self._writer.take_open(trials, time_s)
            for instruction in instructions:
                trial_id = getattr(instruction, "trial_id", None)
                if trial_id is not None:
                    self._writer.take(trials, [trial_id], time_s)
            self._writer.write_some()

    def on_pulse(self, time_s: float) -> None:
        """Write what has waited."""
        with _explained():
            self._writer.write_some()

    def close(self) -> None:
        """Write the rest."""
        with _explained():
            self._writer.finish(self._run.trials, run_is_over=self._run.status is not None)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise DotrainError(
            f"TensorBoard's files are incomplete: {error}; the journal has everything"
        ) from error
