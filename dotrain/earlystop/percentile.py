"""The median stopping rule, with any percentile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated

from annotated_types import Ge, Gt, Lt
from sortedcontainers import SortedList

from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction, sign_of
from dotrain.core.trial import Trial, TrialState


class PercentileStop(AbstractEarlyStop):
    """Stop a trial whose best value so far is worse than a percentile of the others' averages.

    At step s, a trial's best value up to s is compared with a percentile, over all ended trials
    that reported at s, of their running average up to s; strictly worse stops. Trials that were
    stopped early or diverged count at the steps they reached: leaving them out would raise the bar
    with every stop. Averages are kept in sorted lists per step, so that a report costs O(log n) in the
    number of trials.

    Source: the median stopping rule of Golovin, Solnik, Moitra, Kochanski, Karro and Sculley, "Google
    Vizier: A Service for Black-Box Optimization", KDD 2017, section 3.2.1, where this is 50. The
    percentile is counted as in optuna's ``PercentilePruner``, linear between neighbours; that one compares
    with values at the step instead of averages, and only with those of trials that ran to their end.

    Args:
        percentile: How many of a hundred trials are kept (> 0, < 100): 25 stops what is behind the
            best quarter.
        min_trials: Trials that must have a value at the step before any is stopped (>= 1).
        min_reports: Reports a trial may make before it can be stopped (>= 0).
    """

    def __init__(
        self,
        *,
        percentile: Annotated[float, Gt(0), Lt(100)],
        min_trials: Annotated[int, Ge(1)] = 5,
        min_reports: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.percentile = percentile
        self.min_trials = min_trials
        self.min_reports = min_reports
        self._bar_text = f"percentile {percentile:g} ({{:.4g}})"
        self.initialize()

    def check_with(self, optimizer: AbstractOptimizer) -> None:
        """Refuse an optimizer whose trials begin from others' checkpoints: averages over other steps don't compare.

        Raises:
            ValueError: If its do.
        """
        if optimizer.lends_checkpoints:
            raise ValueError(
                f"with the optimizer {type(optimizer).__name__} trials begin from others' checkpoints, and this rule compares "
                "averages from the first step on; leave it out, as the worst are replaced anyway, or take patience or "
                "threshold"
            )

    def initialize(self) -> None:
        """Start with nothing to compare with."""
        #: Running averages of ended trials, by step.
        self._averages: dict[int, SortedList[float]] = {}
        #: How many reports of an ended trial are in `_averages` already, by trial id.
        self._counted: dict[str, int] = {}
        #: (attempt, lowest, highest value so far) of running trials, by id.
        self._extremes: dict[str, tuple[int, float, float]] = {}

    def on_report(self, trial: Trial, step: int, value: float) -> None:
        """Keep the trial's extremes up to date."""
        known = self._extremes.get(trial.trial_id)
        if known is None or known[0] != trial.attempt:
            history = trial.metric_history
            known = (trial.attempt, min(history), max(history))
        _, low, high = known
        self._extremes[trial.trial_id] = (trial.attempt, min(low, value), max(high, value))

    def on_replaced(self, trial: Trial, step: int, value: float) -> None:
        """Take the extremes of what counts now."""
        history = trial.metric_history
        self._extremes[trial.trial_id] = (trial.attempt, min(history), max(history))

    def on_end(self, trial: Trial) -> None:
        """Take the running averages of a trial that ended with a value, or diverged."""
        self._extremes.pop(trial.trial_id, None)
        if trial.final_metric is None and trial.state is not TrialState.DIVERGED:
            return
        total = 0.0
        counted = self._counted.get(trial.trial_id, 0)
        for index, value in enumerate(trial.metric_history):
            total += value
            if index >= counted:
                averages = self._averages.setdefault(trial.step_history[index], SortedList())
                averages.add(total / (index + 1))
        self._counted[trial.trial_id] = max(counted, len(trial.metric_history))

    def earlystop_check(
        self,
        to_check: Mapping[str, Trial],
        finalized_trials: Sequence[Trial],
        direction: Direction,
    ) -> dict[str, str]:
        """Return the trials that are behind, each with the comparison that says so."""
        sign = sign_of(direction)
        stop: dict[str, str] = {}
        for trial_id, trial in to_check.items():
            step = trial.step_history[-1]
            averages = self._averages.get(step)
            if averages is None or len(averages) < self.min_trials:
                continue
            if len(trial.step_history) <= self.min_reports:
                continue
            _, low, high = self._extremes[trial_id]
            best = high if direction == "max" else low
            bar = self._bar(averages, direction)
            if sign * best < sign * bar:
                relation = "<" if direction == "max" else ">"
                stop[trial_id] = (
                    f"best {best:.4g} {relation} {self._bar_text.format(bar)} "
                    f"of {len(averages)} trials at step {step}"
                )
        return stop

    def _bar(self, averages: SortedList[float], direction: Direction) -> float:
        """Return the percentile, counted from the best average, linear between neighbours."""
        # In fractions: rounded, the bar may lie a hair beyond a value that is equal to it.
        place = (len(averages) - 1) * Fraction(self.percentile) / 100
        rank = int(place)
        share = place - rank
        is_max = direction == "max"
        here = float(averages[-1 - rank if is_max else rank])
        if not share:
            return here
        beyond = float(averages[-2 - rank if is_max else rank + 1])
        return float((1 - share) * Fraction(here) + share * Fraction(beyond))
