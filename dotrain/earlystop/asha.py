"""ASHA, the stopping variant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Annotated

from annotated_types import Ge
from sortedcontainers import SortedList

from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.trial import Trial


class ASHAStop(AbstractEarlyStop):
    """Stop a trial that isn't among the best `1/reduction_factor` at its rung, a number of steps.

    The rungs are ``r * eta**k`` steps below R. At the first report at or beyond a rung, its value is
    compared with those of all trials that have come there so far, and it goes on if at most `1/eta` of
    these are better. So the first always goes on, and equal values go on together. Of several rungs that a trial passes between two reports only the highest counts. At R and
    beyond nothing is stopped: the train function ends there by itself. Nothing is promoted, no checkpoint is
    needed, and trials need no ``budget``; what was stopped too soon stays so.

    Trials count at the rungs that they have reached, whatever becomes of them.

    Source: the stopping variant of ASHA (Li et al., "A System for Massively Parallel Hyperparameter
    Tuning", MLSys 2020), as ``type="stopping"`` of syne-tune's ``HyperbandScheduler``: ``StoppingRungSystem`` lets
    go on what is not worse than the quantile `1/eta` of the rung, the new value among its data. Ray Tune's
    ``ASHAScheduler`` compares before it adds the new value, so its second trial at a rung goes on only
    if it isn't worse than the first; and it stops what has come to R.

    Args:
        resource_max: R, the steps of a trial that nothing stops (>= 1).
        resource_min: r, the steps of the lowest rung (>= 1, < `resource_max`).
        reduction_factor: eta (>= 2): one in `reduction_factor` goes on.
    """

    def __init__(
        self,
        *,
        resource_max: Annotated[int, Ge(1)],
        resource_min: Annotated[int, Ge(1)] = 1,
        reduction_factor: Annotated[int, Ge(2)] = 3,
    ) -> None:
        if resource_min >= resource_max:
            raise ValueError(
                f"resource_min {resource_min} is not below resource_max {resource_max}: there would be "
                "no rung to stop at"
            )
        self.resource_min = resource_min
        self.resource_max = resource_max
        self.reduction_factor = reduction_factor
        self.initialize()

    def check_with(self, optimizer: AbstractOptimizer) -> None:
        """Refuse an optimizer that gives budgets: a trial that ends at its budget has rungs already.

        Raises:
            ValueError: If it does.
        """
        if optimizer.gives_budget:
            raise ValueError(
                f"the optimizer {type(optimizer).__name__} gives trials budgets, and this rule would judge "
                "them a second time; use one of the two: an optimizer without budgets, such as random, or "
                "another rule"
            )

    def initialize(self) -> None:
        """Start with empty rungs."""
        #: The rungs' steps, the lowest first.
        self._rungs: list[int] = []
        steps = self.resource_min
        while steps < self.resource_max:
            self._rungs.append(steps)
            steps *= self.reduction_factor
        #: The values at each rung, in order.
        self._values: list[SortedList[float]] = [SortedList() for _ in self._rungs]
        #: The values of each trial by its rungs, by trial id.
        self._reached: dict[str, dict[int, float]] = {}

    def on_report(self, trial: Trial, step: int, value: float) -> None:
        """Enter the value where the trial has come to a rung."""
        reached = self._reached.setdefault(trial.trial_id, {})
        rung = self._rung_of(trial.steps_done)
        # An attempt that begins again has not been there yet.
        for lost in [known for known in reached if known > rung]:
            self._values[lost].remove(reached.pop(lost))
        if self._is_new(trial, rung):
            if rung in reached:
                self._values[rung].remove(reached[rung])
            reached[rung] = value
            self._values[rung].add(value)

    def on_replaced(self, trial: Trial, step: int, value: float) -> None:
        """Enter the value that counts now."""
        self.on_report(trial, step, value)

    def on_end(self, trial: Trial) -> None:
        """Keep what it has reached, and forget who that was if it never goes on."""
        if trial.state.for_good:
            self._reached.pop(trial.trial_id, None)

    def earlystop_check(
        self,
        to_check: Mapping[str, Trial],
        finalized_trials: Sequence[Trial],
        direction: Direction,
    ) -> dict[str, str]:
        """Return the trials that have just come to a rung and aren't among its best."""
        stop: dict[str, str] = {}
        for trial_id, trial in to_check.items():
            rung = self._rung_of(trial.steps_done)
            if not self._is_new(trial, rung):
                continue
            values, value = self._values[rung], self._reached[trial_id][rung]
            is_max = direction == "max"
            better = (
                len(values) - values.bisect_right(value) if is_max else values.bisect_left(value)
            )
            if better * self.reduction_factor >= len(values):
                stop[trial_id] = (
                    f"rank {better + 1} of {len(values)} at the rung of {self._rungs[rung]} steps, not "
                    f"within the best 1/{self.reduction_factor} at step {trial.last_step}"
                )
        return stop

    def _rung_of(self, steps: int) -> int:
        """Return the highest rung that is reached by so many steps, -1 if none is."""
        return bisect_right(self._rungs, steps) - 1

    def _is_new(self, trial: Trial, rung: int) -> bool:
        """Whether the last report is the trial's first at or beyond a rung."""
        history = trial.step_history
        if rung < 0 or trial.steps_done >= self.resource_max:
            return False
        before = history[-2] + (history[0] == 0) if len(history) > 1 else 0
        return self._rung_of(before) < rung
