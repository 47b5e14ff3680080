"""Several metrics of a trial: its values, which of two trials is better, and which nothing is better than."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final

from dotrain.core.failure import Failure, FailureKind
from dotrain.core.marks import Mark
from dotrain.core.policy import Direction, sign_of
from dotrain.core.trial import Trial, TrialState

#: Values of a trial with their signs turned so that larger is better, the main metric's first.
Scores = tuple[float, ...]


@final
@dataclass(frozen=True)
class Metrics:
    """The metrics that a search is for, where there are several.

    Attributes:
        directions: ``max`` or ``min`` of each, the main one first; empty where there is one metric.
    """

    directions: Mapping[str, Direction] = field(default_factory=dict)

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Self:
        """Return those of a run.

        Args:
            header: The journal's first record.
        """
        return cls(dict(header.get("metrics") or {}))

    def __bool__(self) -> bool:
        """Whether there are several."""
        return bool(self.directions)

    @property
    def others(self) -> tuple[str, ...]:
        """All but the main one: what is returned or reported beside it."""
        return tuple(self.directions)[1:]

    def missing(self, trial: Trial, metrics: Mapping[str, float] | None) -> Failure | None:
        """Return the failure of a result that lacks one of them; None if it has all.

        Args:
            trial: Is about to finish.
            metrics: The other numbers that the train function returned; where it returned none, those of its last report
                count.
        """
        known = metrics or _told_last(trial)
        names = [name for name in self.others if name not in known]
        if not names:
            return None
        message = (
            f"no {', '.join(names)} (metrics) was returned, nor in the last report; there is "
            f"{', '.join(known) or 'no other number'}"
        )
        return Failure(FailureKind.BAD_RESULT, message)

    def judge(self, trial: Trial) -> None:
        """Note the values of a trial that has ended with one of the main metric.

        One that was stopped has those of its last report; if that hasn't told of all, or it was stopped in a repeat, it has
        none, for values of different moments are no result.
        """
        if not self:
            return
        assert trial.final_metric is not None, "it has no value"
        known = told_with_value(trial)
        has_all = all(name in known for name in self.others)
        has_all = has_all and Mark.FEWER_REPEATS not in trial.notes
        values = (trial.final_metric, *(known[name] for name in self.others)) if has_all else ()
        trial.values = values

    def scores(self, trial: Trial) -> Scores:
        """Return a trial's values as scores; empty if it has none."""
        signs = map(sign_of, self.directions.values())
        return tuple(sign * value for sign, value in zip(signs, trial.values, strict=False))

    def may_win(self, trial: Trial) -> bool:
        """Whether a trial has all values, and is feasible."""
        return bool(trial.values) and trial.may_win

    def front(self, trials: Iterable[Trial]) -> list[Trial]:
        """Return the trials that no other one dominates, the best by the main metric first.

        Those that are equal by it are in the order of the next one, and so on; what is equal by all of them is all
        there, in the order of sampling.
        """
        scored = [(self.scores(trial), trial) for trial in trials if self.may_win(trial)]
        # Whatever dominates one comes before it, and is dominated itself only by what does so too.
        scored.sort(key=lambda pair: (*(-score for score in pair[0]), pair[1].number))
        found: list[tuple[Scores, Trial]] = []
        for scores, trial in scored:
            if not any(dominates(other, scores) for other, _ in found):
                found.append((scores, trial))
        return [trial for _, trial in found]

    def dominating(self, trial: Trial, others: Iterable[Trial]) -> list[Trial]:
        """Return those of some trials that dominate one."""
        scores = self.scores(trial)
        return [other for other in others if dominates(self.scores(other), scores)]


def dominates(one: Scores, other: Scores) -> bool:
    """Whether scores are nowhere worse than others, and better somewhere."""
    for a, b in zip(one, other, strict=True):  # a front of thousands is compared millions of times
        if a < b:
            return False
    return one != other


@final
class FrontSoFar:
    """The front of the trials that have ended, kept up to date: as many comparisons for each as it has members."""

    def __init__(self, metrics: Metrics) -> None:
        """Begin with no trial.

        Args:
            metrics: Of the run.
        """
        self._metrics = metrics
        #: Of all trials that may win, by their ids.
        self._scores: dict[str, Scores] = {}
        self._front: set[Scores] = set()

    def __len__(self) -> int:
        """How many different values are on it."""
        return len(self._front)

    def take(self, trial: Trial) -> bool:
        """Take in a trial that has ended, each time it does; return whether nothing known was as good."""
        before = self._scores.pop(trial.trial_id, None)
        if before in self._front and before not in self._scores.values():
            # What it had dominated may be on the front again.
            self._front.discard(before)
            for scores in self._scores.values():
                self._add(scores)
        if not self._metrics.may_win(trial):
            return False
        now = self._scores[trial.trial_id] = self._metrics.scores(trial)
        return self._add(now)

    def _add(self, scores: Scores) -> bool:
        if scores in self._front or any(dominates(other, scores) for other in self._front):
            return False
        self._front = {other for other in self._front if not dominates(scores, other)} | {scores}
        return True


def told_with_value(trial: Trial) -> Mapping[str, float]:
    """Return the numbers that belong to the value of a trial that has ended: returned, or reported, with it."""
    is_returned = trial.state is TrialState.FINISHED and trial.metrics_step is None
    return (trial.metrics or {}) if is_returned else _told_last(trial)


def _told_last(trial: Trial) -> Mapping[str, float]:
    """Return the numbers beside the metric that a trial's last report had."""
    is_last = trial.metrics_step is not None and trial.metrics_step == trial.last_step
    return (trial.metrics or {}) if is_last else {}
