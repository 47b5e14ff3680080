"""Stopping what doesn't improve any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

from annotated_types import Ge

from dotrain.core.policy import AbstractEarlyStop, Direction, sign_of
from dotrain.core.trial import Trial


class _Best(NamedTuple):
    """The last score that was an improvement, and how many reports have come since."""

    score: float = float("-inf")
    since: int = 0


class _Course(NamedTuple):
    """What a trial's reports have come to, by direction: without the last one, and with it."""

    reports: int
    before: Mapping[Direction, _Best]
    now: Mapping[Direction, _Best]


class PatienceStop(AbstractEarlyStop):
    """Stop a trial whose best value hasn't improved for `patience` reports.

    A value improves if it is better by more than `min_delta` than the last one that did; smaller gains add
    up until they do. A trial is compared with itself alone. The value of one that was stopped is its
    last report, not its best.

    Source: the callback ``EarlyStopping`` of deep-learning libraries, and its terms.

    Args:
        patience: Reports without an improvement after which a trial is stopped (>= 1).
        min_delta: How much better a value must be to improve, in units of the metric (>= 0): by more
            than that.
    """

    def __init__(
        self,
        *,
        patience: Annotated[int, Ge(1)],
        min_delta: Annotated[float, Ge(0)] = 0.0,
    ) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self.initialize()

    def initialize(self) -> None:
        """Start with no trial."""
        self._courses: dict[str, _Course] = {}

    def on_report(self, trial: Trial, step: int, value: float) -> None:
        """Note whether the value improves."""
        history = trial.metric_history
        known = self._courses.get(trial.trial_id)
        if known is not None and known.reports + 1 == len(history):
            before = known.now
        elif known is not None and known.reports == len(history):
            before = known.before  # the last report is made once more
        else:  # it is new, or has begun again before that
            before = {"max": _Best(), "min": _Best()}
            for one in history[:-1]:
                before = self._after(before, one)
        self._courses[trial.trial_id] = _Course(len(history), before, self._after(before, value))

    def on_replaced(self, trial: Trial, step: int, value: float) -> None:
        """Take the value that counts now."""
        self.on_report(trial, step, value)

    def on_end(self, trial: Trial) -> None:
        """Forget a trial that has ended."""
        self._courses.pop(trial.trial_id, None)

    def earlystop_check(
        self,
        to_check: Mapping[str, Trial],
        finalized_trials: Sequence[Trial],
        direction: Direction,
    ) -> dict[str, str]:
        """Return the trials that have used up their patience."""
        stop: dict[str, str] = {}
        for trial_id, trial in to_check.items():
            best = self._courses[trial_id].now[direction]
            if best.since >= self.patience:
                by = f" by more than {self.min_delta:g}" if self.min_delta else ""
                stop[trial_id] = (
                    f"no better than {sign_of(direction) * best.score:.4g}{by} in {best.since} reports, "
                    f"at step {trial.last_step}"
                )
        return stop

    def _after(self, known: Mapping[Direction, _Best], value: float) -> dict[Direction, _Best]:
        after: dict[Direction, _Best] = {}
        for direction, best in known.items():
            score = sign_of(direction) * value
            improves = score - self.min_delta > best.score
            after[direction] = _Best(score) if improves else _Best(best.score, best.since + 1)
        return after
