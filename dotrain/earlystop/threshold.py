"""Stopping what is out of bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from annotated_types import Ge

from dotrain.core.policy import AbstractEarlyStop, Direction
from dotrain.core.trial import Trial


class ThresholdStop(AbstractEarlyStop):
    """Stop a trial that reports a value below `lower` or above `upper`.

    The bounds are values of the metric, whatever the direction; a bound itself is still within. One of
    them is enough.

    Source: optuna's ``ThresholdPruner``; NaN needs no rule here, it ends a trial as diverged.

    Args:
        lower: The smallest value that goes on; by default none.
        upper: The largest value that goes on (>= `lower`); by default none.
        min_steps: Steps that a trial may do before it can be stopped (>= 0).
    """

    def __init__(
        self,
        *,
        lower: float | None = None,
        upper: float | None = None,
        min_steps: Annotated[int, Ge(0)] = 0,
    ) -> None:
        if lower is None and upper is None:
            raise ValueError("needs lower, upper or both: the bounds of the metric")
        if lower is not None and upper is not None and lower > upper:
            raise ValueError(f"lower {lower:g} is over upper {upper:g}; swap them?")
        self.lower = lower
        self.upper = upper
        self.min_steps = min_steps

    def earlystop_check(
        self,
        to_check: Mapping[str, Trial],
        finalized_trials: Sequence[Trial],
        direction: Direction,
    ) -> dict[str, str]:
        """Return the trials whose last value is out of bounds."""
        stop: dict[str, str] = {}
        for trial_id, trial in to_check.items():
            value, what = trial.metric_history[-1], ""
            if self.lower is not None and value < self.lower:
                what = f"{value:.4g} is below lower {self.lower:g}"
            elif self.upper is not None and value > self.upper:
                what = f"{value:.4g} is above upper {self.upper:g}"
            if what and trial.steps_done > self.min_steps:
                stop[trial_id] = f"{what} at step {trial.last_step}"
        return stop
