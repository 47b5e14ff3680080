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
class Scale:
    """What there is to reach.

    Attributes:
        best: The best score of the table, or of many random configurations.
        climbed: The best one that a climb from there has found; the same for a table.
        middle: The median score of whole trainings.
    """

    best: float
    climbed: float
    middle: float

    def regret(self, score: float | None, *, climbed: bool = False) -> float:
        """Return how far a score is from the best one: 0 there and above, 1 at the median and below.

        Args:
            score: None is none yet.
            climbed: Whether the best one is that of the climb.
        """
        best = self.climbed if climbed else self.best
        if score is None:
            return 1.0
        return min(max(0.0, (best - score) / (best - self.middle)), 1.0)


@dataclass(frozen=True)
class Problem:
    """A search to be judged.

    Attributes:
        name: Its own, within the group.
        group: Problems whose regrets are averaged.
        space: What is searched.
        curve_of: Returns what becomes of a configuration.
        scale: What there is to reach.
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
    scale: Scale
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

    def score_at(self, problem: Problem, mark: float) -> float | None:
        """Return the best score at a mark; None before there is one."""
        until_s = problem.mark_s(mark) * (1 + 1e-9)
        found = [score for time_s, score in self.improvements if time_s <= until_s]
        return found[-1] if found else None
