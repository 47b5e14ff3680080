"""The reporter: how a train function tells how it is doing, and learns that it should stop."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Collection, Sequence
from typing import Any, final

from dotrain.core.events import Noted, Reported
from dotrain.core.marks import Mark
from dotrain.core.policy import Direction
from dotrain.training.channel import Channel
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadReport, Diverged, EarlyStop
from dotrain.training.numbers import Numbers, split_metrics
from dotrain.training.place import Agreement
from dotrain.training.report_log import ReportLog

#: Steps travel as JSON numbers.
_MAX_STEP = 2**53


@final
class Reporter:
    """Reports of one attempt.

    Attributes:
        metric: Name of the config's metric.
        next_step: The step that `broadcast` uses if it isn't given one.
        last: The value last reported, or None.
        divergence: How the metric has become NaN or infinite, or ``""``.
        held: What is to be raised when the function returns, or None.
        first_step: The step first reported in this attempt, or None.
        trained: The model that a callback has seen trained last, or None.
    """

    def __init__(
        self,
        trial_id: str,
        attempt: int,
        metric: str,
        channel: Channel,
        agreement: Agreement,
        budget: float | None = None,
        direction: Direction = "max",
        further: Collection[str] = (),
    ) -> None:
        self.metric = metric
        self.next_step = 0
        self.last: float | None = None
        self._best_before: float | None = None
        self._better = max if direction == "max" else min
        self.divergence = ""
        self.held: BaseException | None = None
        self.first_step: int | None = None
        self.trained: Any = None
        self._further = further
        self._agreement = agreement
        self._trial_id = trial_id
        self._attempt = attempt
        self._channel = channel
        self._last_step: int | None = None
        #: How often the last step was reported again.
        self._repeats = 0
        self._checkpoint: Checkpoint | None = None
        self._resume_step = 0
        self._said: set[str] = set()
        self._budget = budget
        #: What the first step is counted as, 0 or 1; None before the first report.
        self._counts_from: int | None = None
        #: Where reports are kept too, if the function keeps checkpoints.
        self.log_file: ReportLog | None = None

    @property
    def best(self) -> float | None:
        """The best value that the trial has reported so far, each step's as it was last reported."""
        known = [value for value in (self._best_before, self.last) if value is not None]
        return self._better(known, default=None)

    def go_on_from(self, checkpoint: Checkpoint, step: int, reported: Sequence[float] = ()) -> None:
        """Count on from the step of a checkpoint, which the function may use or not.

        Args:
            checkpoint: The trial's.
            step: Its step.
            reported: The values of the steps before that one.
        """
        self._checkpoint, self._resume_step, self.next_step = checkpoint, step, step
        if reported:
            self._best_before, self.last = self._better(reported), reported[-1]

    def broadcast(self, metric: Any, step: int | None = None) -> None:
        """Report the metric; every report reaches the search, in order.

        Args:
            metric: A number, or a dict of numbers that holds the config's metric; the others are
                recorded with it. NaN or infinity ends the trial as diverged, of several metrics in any.
            step: A whole number >= 0, by default the next one. It may not be smaller than that of
                the report before; the same one again replaces that report. Count what the budget
                counts: epochs, if that is epochs.

        Raises:
            BadReport: If the metric or the step is not as described; this fails the trial.
            EarlyStop: If the trial is to stop, or has diverged. Let it pass.
        """
        if self._channel.closed or self._channel.pid != os.getpid():
            raise BadReport("reported after the trial has ended, or from a child process")
        with self._channel.lock:
            self._report(metric, step)
            reason = self._agreement.stop(self.divergence or self._channel.stop_reason)
        if self.divergence:
            raise Diverged(self.divergence)
        if reason is not None:
            raise EarlyStop(reason)

    def raise_later(self, error: BaseException) -> None:
        """Have raised, when the function returns, what `broadcast` has raised in a callback.

        For a framework that would hide it in an error of its own: the callback ends the training in
        the framework's way. The next report raises `EarlyStop` again.
        """
        self.held = error

    def _report(self, metric: Any, step: int | None) -> None:
        step = self._checked_step(step)
        numbers = split_metrics(metric, self.metric, "reported", self._further)
        if numbers.wrong:
            raise BadReport(f"step {step}: {numbers.wrong}")
        if numbers.divergence:
            self.divergence = f"reported {numbers.divergence} at step {step}"
            return
        if numbers.left_out:
            names = ", ".join(numbers.left_out)
            self._say(f"left out of reports, being no finite number: {names}")
        if step == self._last_step:
            self._repeats += 1
            self._say(f"step {step} was reported more than once; the last report of it counts")
        else:
            self._repeats = 0
            self._check_recount(step)
            self._check_budget(step)
        self._last_step = step
        self.first_step = step if self.first_step is None else self.first_step
        self.next_step = step + 1
        self._send(step, numbers)

    def _send(self, step: int, numbers: Numbers) -> None:
        value, others = numbers.value, numbers.others
        if not self._repeats:
            self._best_before = self.best
        self.last = value
        if self.log_file is not None:
            self.log_file.append(step, value, others)
        replaces = self._repeats or None
        name = (self._trial_id, self._attempt)
        self._channel.send(Reported(*name, step, value, others, replaces=replaces))

    def _checked_step(self, step: Any) -> int:
        if step is None:
            return self.next_step
        try:
            number = operator.index(step)
        except TypeError:
            number = -1
        if isinstance(step, bool) or not 0 <= number < _MAX_STEP:
            raise BadReport(f"the step must be a whole number >= 0 and < 2**53, got {step!r}")
        if self._last_step is not None and number < self._last_step:
            raise BadReport(
                f"step {number} was reported after step {self._last_step}; steps must not go back"
            )
        return number

    def _check_recount(self, step: int) -> None:
        """Note that a function which goes on from its checkpoint counts its steps anew."""
        behind = self._last_step is None and step < self._resume_step
        if behind and self._checkpoint is not None and self._checkpoint.was_read:
            self.note(
                Mark.RECOUNTED,
                f"continued from step {self._resume_step}, but reported step {step}; "
                "report checkpoint.step + n",
            )

    def _check_budget(self, step: int) -> None:
        """Note, once, that the function trains on past its budget."""
        if self._counts_from is None:
            # One that reports after every second epoch is taken for one that counts from 1 too.
            self._counts_from = 0 if step == self.next_step else 1
        done = step + 1 - self._counts_from
        if self._budget is not None and done > self._budget:
            self.note(
                Mark.OVER_BUDGET,
                f"trained {done} steps, more than its budget of {self._budget:g}; the train "
                "function must ask for 'budget' and stop there, counting those that its checkpoint has done",
            )
            self._budget = None

    def note(self, mark: Mark, what: str) -> None:
        """Tell what must be known of an attempt that goes on all the same."""
        self._say(what)
        self._channel.send(Noted(self._trial_id, self._attempt, mark.value, what))

    def _say(self, what: str) -> None:
        """Write a note to the trial's log, each kind once."""
        kind = what.lstrip("step 0123456789")
        if kind not in self._said:
            self._said.add(kind)
            self.log(f"--- note: {what}")

    def log(self, message: Any) -> None:
        """Write a line to the trial's log."""
        sys.stdout.write(f"{message}\n")
