"""Who is told to stop, and why: the rule says so, its time is up, or a person wants it."""

from __future__ import annotations

from typing import final

from dotrain.core.asking import tell_report, to_stop
from dotrain.core.book import TrialBook
from dotrain.core.deadlines import trained_enough_s
from dotrain.core.events import Reported, StopAsked
from dotrain.core.instructions import Stop
from dotrain.core.limits import Limits
from dotrain.core.policy import AbstractEarlyStop, Direction
from dotrain.core.trial import Trial, TrialState


@final
class Stopping:
    """Tells running trials to stop, each once.

    One without a report has no value to stop with, so it goes on to its first; one that is over
    before is over.
    """

    def __init__(self, rule: AbstractEarlyStop, direction: Direction, book: TrialBook) -> None:
        """Make it for a run.

        Args:
            rule: The early-stop rule.
            direction: ``max`` or ``min``, handed to the rule.
            book: Of the run's trials.
        """
        self._rule = rule
        self._direction = direction
        self._book = book
        #: Why a person wants it, of trials that can't stop yet.
        self._asked: dict[str, str] = {}

    def after_report(
        self, trial: Trial, event: Reported, limits: Limits, time_s: float
    ) -> list[Stop]:
        """Return whom to stop now that a trial has reported.

        Raises:
            PolicyError: If the rule breaks its contract.
        """
        tell_report(self._rule, trial, event)
        out: list[Stop] = []
        if trial.trial_id in self._asked:
            out += self._stop(trial, self._asked.pop(trial.trial_id), time_s)
        if trial.at_last_step or trial.state is not TrialState.RUNNING:
            return out
        asked = to_stop(self._rule, trial, self._book.finalized, self._direction)
        for trial_id, reason in asked.items():
            target = self._book.active.get(trial_id)
            if target is not None:
                out += self._stop(target, reason, time_s)
        return out + self.when_due(trial, limits, time_s)

    def when_due(self, trial: Trial, limits: Limits, time_s: float) -> list[Stop]:
        """Stop a trial that has trained for as long as it may."""
        due_s = trained_enough_s(trial, limits)
        if due_s is None or time_s < due_s or trial.at_last_step:
            return []
        reason = f"trained for {limits.max_trial_time_s:g} s (limits.max_trial_time_s)"
        return self._stop(trial, reason, time_s)

    def when_asked(self, trial: Trial, event: StopAsked, time_s: float) -> list[Stop]:
        """Stop a trial that a person wants to end."""
        reason = f"asked for by {event.who}" + (f": {event.why}" if event.why else "")
        if trial.state is TrialState.LAUNCHED or not trial.step_history:
            self._asked[trial.trial_id] = reason
            return []
        return self._stop(trial, reason, time_s)

    def forget(self, trial: Trial) -> None:
        """Note that a trial has ended; whatever becomes of it, nobody has asked for that."""
        self._asked.pop(trial.trial_id, None)

    def _stop(self, trial: Trial, reason: str, time_s: float) -> list[Stop]:
        if trial.state is not TrialState.RUNNING or not trial.step_history:
            return []
        why = f"stopped {trial.trial_id} at step {trial.last_step}: {reason}"
        self._book.stop(trial, why, time_s)
        return [Stop(why, trial.trial_id, trial.attempt)]
