"""What searchers are judged on: a space, learning curves, durations, and what there is to reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dotrain.space import Params, Searchspace


@dataclass(frozen=True)
class Curve:
    """What becomes of one configuration.

    Attributes:
        scores: The metric after each step, larger is better.
        durations_s: How long each step takes, in seconds.
    """

    scores: Sequence[float]
    durations_s: Sequence[float]


@dataclass(frozen=True)
class Problem:
    """A search to be judged.

    Attributes:
        name: Its own, within the group.
        group: Problems whose regrets are averaged.
        space: What is searched.
        curve_of: Returns what becomes of a configuration.
        best: The best score that is known.
        middle: The median score of whole trainings; a regret of 1.
        unit_s: What `marks` are counted in: a whole training, in seconds.
        marks: When regret is taken, in units of all workers' time together.
        workers: How many trials run at a time.
        num_trials: Configurations at most; None for as many as there is time for.
        rungs: Steps of the lowest rung, of a whole training as the rungs have it, and their ratio; None where a
            training has one step.
    """

    name: str
    group: str
    space: Searchspace
    curve_of: Callable[[Params], Curve]
    best: float
    middle: float
    unit_s: float
    marks: tuple[int, ...]
    workers: int = 1
    num_trials: int | None = None
    rungs: tuple[int, int, int] | None = None

    @property
    def steps(self) -> int:
        """Of a whole training."""
        return 1 if self.rungs is None else self.rungs[1]

    def mark_s(self, mark: float) -> float:
        """Return when a mark is, in seconds since the search began."""
        return mark * self.unit_s / self.workers

    @property
    def horizon_s(self) -> float:
        """When the last mark is."""
        return self.mark_s(self.marks[-1])

    def regret(self, score: float) -> float:
        """Return how far a score is from the best one known: 0 there, 1 at the median and below."""
        return min(max(0.0, (self.best - score) / (self.best - self.middle)), 1.0)


@dataclass(frozen=True)
class Trace:
    """What a search has come to.

    Attributes:
        improvements: (when in seconds, the best score that was reported until then).
        trials: How many configurations it has begun.
        asks_s: What the asks of a model took, of this machine's own time, in seconds.
    """

    improvements: Sequence[tuple[float, float]]
    trials: int
    asks_s: float = 0.0

    def regret_at(self, problem: Problem, mark: float) -> float:
        """Return the regret of the best score at a mark; 1 before there is one."""
        until_s = problem.mark_s(mark) * (1 + 1e-9)
        found = [score for time_s, score in self.improvements if time_s <= until_s]
        return problem.regret(found[-1]) if found else 1.0
