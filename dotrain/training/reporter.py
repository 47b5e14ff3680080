"""The reporter: how a train function tells how it is doing, and learns that it should stop."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Mapping
from typing import Any

from dotrain.core.events import Reported
from dotrain.training.channel import Channel
from dotrain.training.errors import BadReport, EarlyStop
from dotrain.training.numbers import split_metrics
from dotrain.training.place import Agreement
from dotrain.training.report_log import ReportLog

#: Steps travel as JSON numbers.
_MAX_STEP = 2**53


class Reporter:
    """Reports of one attempt.

    Attributes:
        metric: Name of the config's metric.
        next_step: The step that `broadcast` uses if it isn't given one.
    """

    def __init__(
        self,
        trial_id: str,
        attempt: int,
        metric: str,
        channel: Channel,
        agreement: Agreement,
        budget: float | None = None,
    ) -> None:
        self.metric = metric
        self.next_step = 0
        self._agreement = agreement
        self._trial_id = trial_id
        self._attempt = attempt
        self._channel = channel
        self._last: int | None = None
        self._budget = budget
        #: What the first step is counted as, 0 or 1; None before the first report.
        self._counts_from: int | None = None
        #: Where reports are kept too, if the function keeps checkpoints.
        self.log_file: ReportLog | None = None

    def broadcast(self, metric: Any, step: int | None = None) -> None:
        """Report the metric; every report reaches the search, in order.

        Args:
            metric: A finite number, or a dict of numbers that holds the config's metric; the
                others are recorded with it.
            step: A whole number >= 0, larger than that of the report before; by default the
                next one. Count what the budget counts: epochs, if that is epochs.

        Raises:
            BadReport: If the metric or the step is not as described; this fails the trial.
            EarlyStop: If the trial is to stop. Let it pass.
        """
        if self._channel.closed or self._channel.pid != os.getpid():
            raise BadReport("reported after the trial has ended, or from a child process")
        with self._channel.lock:
            self._report(metric, step)
            reason = self._agreement.stop(self._channel.stop_reason)
        if reason is not None:
            raise EarlyStop(reason)

    def _report(self, metric: Any, step: int | None) -> None:
        step = self._checked_step(step)
        value, others, wrong = split_metrics(metric, self.metric, "reported")
        if wrong:
            raise BadReport(f"step {step}: {wrong}")
        self._check_budget(step)
        self._last = step
        self.next_step = step + 1
        if self.log_file is not None:
            self.log_file.append(step, value, others)
        self._channel.send(Reported(self._trial_id, self._attempt, step, value, others))

    def _checked_step(self, step: Any) -> int:
        if step is None:
            return self.next_step
        try:
            number = operator.index(step)
        except TypeError:
            number = -1
        if isinstance(step, bool) or not 0 <= number < _MAX_STEP:
            raise BadReport(f"the step must be a whole number >= 0 and < 2**53, got {step!r}")
        if self._last is not None and number <= self._last:
            raise BadReport(f"step {number} was reported after step {self._last}; steps must grow")
        return number

    def _check_budget(self, step: int) -> None:
        """Note, once, that the function trains on past its budget."""
        if self._counts_from is None:
            # One that reports after every second epoch is taken for one that counts from 1 too.
            self._counts_from = 0 if step == self.next_step else 1
        done = step + 1 - self._counts_from
        if self._budget is not None and done > self._budget:
            self._note(
                f"trained {done} steps, more than its budget of {self._budget:g}; the train "
                "function must ask for 'budget' and stop there"
            )
            self._budget = None

    def _note(self, text: str) -> None:
        """Tell a person what is wrong with an attempt that goes on all the same."""
        self.log(f"--- note: {text}")

    def log(self, message: Any) -> None:
        """Write a line to the trial's log."""
        sys.stdout.write(f"{message}\n")

    def broadcast_logs(self, logs: Mapping[str, Any], metric: str, step: int | None) -> None:
        """Report the logs of a Keras callback, with `metric` under the config's name.

        Raises:
            BadReport: If `logs` doesn't hold `metric`, or as for `broadcast`.
            EarlyStop: If the trial is to stop.
        """
        if metric not in logs:
            held = ", ".join(logs) or "nothing"
            raise BadReport(f"Keras' logs have no '{metric}'; they hold {held}")
        self.broadcast({**logs, self.metric: logs[metric]}, step)
