"""Whether a search has found enough: a value that will do, or nothing better for long."""

from __future__ import annotations

import heapq
from typing import final

from dotrain.core.front import FrontSoFar, Metrics
from dotrain.core.limits import Limits
from dotrain.core.policy import Direction, sign_of
from dotrain.core.trial import Trial, TrialState


@final
class Enough:
    """Looks at trials as they end, and decides once.

    The best value is that of all trials that may win now, whatever their budget: a promotion may make it
    worse, and a trial that diverges, or becomes infeasible, takes its value with it. With several metrics a trial is
    better if no other one is as good by all of them.

    Attributes:
        why: Why the search is over, or ``""``; it stays over, unless a new driver brings other limits.
    """

    def __init__(
        self, limits: Limits, direction: Direction, metrics: Metrics | None = None
    ) -> None:
        """Begin with no trial.

        Args:
            limits: Say what is enough.
            direction: ``max`` or ``min``.
            metrics: The metrics, if there are several.
        """
        self.why = ""
        self._limits = limits
        self._sign = sign_of(direction)
        self._front = FrontSoFar(metrics) if metrics else None
        #: Ends of trials since the best value became better.
        self._no_better = 0
        #: Scores by trial id.
        self._scores: dict[str, float] = {}
        #: (negative score, trial number, trial id), best first; what holds no more goes when it is first.
        self._best_first: list[tuple[float, int, str]] = []

    def count(self, trial: Trial) -> None:
        """Take in a trial that has ended, each time it does; failures say nothing of a configuration."""
        if trial.state is TrialState.FAILED:
            return
        is_better = self._note(trial) if self._front is None else self._front.take(trial)
        self._no_better = 0 if is_better else self._no_better + 1
        self.why = self.why or self._judged()

    def _note(self, trial: Trial) -> bool:
        """Keep the value of a trial; return whether the best value has become better."""
        before = self._best()
        if not trial.may_win or trial.final_metric is None:
            self._scores.pop(trial.trial_id, None)
        else:
            score = self._scores[trial.trial_id] = self._sign * trial.final_metric
            heapq.heappush(self._best_first, (-score, trial.number, trial.trial_id))
        now = self._best()
        return now is not None and (before is None or now[0] > before[0])

    def follow(self, limits: Limits) -> None:
        """Go on under the limits of a new driver; other criteria are judged anew."""
        was, self._limits = self._limits, limits
        if limits.enough != was.enough:
            self.why = self._judged()

    def _best(self) -> tuple[float, str] | None:
        """Return the best score and its trial's id, the first of equal ones; None if there is none."""
        while self._best_first:
            score, _, trial_id = self._best_first[0]
            if self._scores.get(trial_id) == -score:
                return -score, trial_id
            heapq.heappop(self._best_first)
        return None

    def _judged(self) -> str:
        best = self._best()
        target, most = self._limits.enough
        if target is not None and best is not None and best[0] >= self._sign * target:
            value = f"{self._sign * best[0]:.6g}"
            return f"{best[1]} has {value}: search.stop.target {target:.6g} is reached"
        if most is not None and self._no_better >= most and self._front is not None:
            return (
                f"{self._no_better} trials have added nothing to the Pareto front of {len(self._front)} "
                "(search.stop.no_better_for)"
            )
        if most is not None and self._no_better >= most:
            than = "" if best is None else f" than {self._sign * best[0]:.6g} of {best[1]}"
            return f"no better value{than} in {self._no_better} trials (search.stop.no_better_for)"
        return ""
