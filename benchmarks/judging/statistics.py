"""Means, paired differences and their 95 % intervals, by a bootstrap over problems and, within each, over repeats.

Not a paired t-test: regrets are skewed and end at 0, and the repeats of one problem are alike, so that
problems x repeats aren't so many independent samples. What is asked is how it would be on other problems with other
seeds; so both are drawn anew, problems first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from judging.running import Outcome

_RESAMPLES = 4000
_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How a searcher does against another one on the same problems with the same seeds, at one mark.

    Attributes:
        difference: Of the regrets; below 0 is better than the other one.
        ratio: Of the mean regrets.
        ahead: On how many problems its mean is the smaller one.
        problems: How many there are.
        repeats: With how many seeds each.
    """

    difference: Interval
    ratio: float
    ahead: int
    problems: int
    repeats: int


class Regrets:
    """The regrets of one group of problems."""

    def __init__(self, outcomes: Sequence[Outcome], *, climbed: bool = False) -> None:
        """Sort what all searches have come to.

        Args:
            outcomes: Of one group.
            climbed: As of `Scale.regret`.
        """
        self._climbed = climbed
        found: dict[str, dict[str, dict[int, Outcome]]] = defaultdict(lambda: defaultdict(dict))
        for one in outcomes:
            found[one.searcher][one.problem][one.seed] = one
        self._found: Mapping[str, Mapping[str, Mapping[int, Outcome]]] = found

    @property
    def searchers(self) -> list[str]:
        """All that were judged here."""
        return list(self._found)

    def problems(self, searcher: str) -> list[str]:
        """Return what a searcher was judged on."""
        return sorted(self._found[searcher])

    def outcomes(self, searcher: str) -> list[Outcome]:
        """Return what all searches of a searcher have come to."""
        return [one for of in self._found[searcher].values() for one in of.values()]

    def mean(self, searcher: str) -> list[Interval]:
        """Return a searcher's mean regret at each mark."""
        names = self.problems(searcher)
        return _intervals([self._array(searcher, name) for name in names])

    def curve(self, searcher: str) -> list[float]:
        """Return a searcher's mean regret over time."""
        of = self._found[searcher]
        means = [
            np.mean([self._regrets(one.curve, one) for one in of[name].values()], axis=0)
            for name in of
        ]
        return [float(value) for value in np.mean(means, axis=0)]

    def against(self, searcher: str, other: str) -> list[Difference]:
        """Return a searcher's differences to another one at each mark, where both were judged."""
        ours, theirs = [], []
        for name in self.problems(searcher):
            both = set(self._found[searcher][name]) & set(self._found[other].get(name, ()))
            if both:
                ours.append(self._array(searcher, name, both))
                theirs.append(self._array(other, name, both))
        if not ours:
            return []
        intervals = _intervals([a - b for a, b in zip(ours, theirs, strict=True)])
        means = [np.array([one.mean(axis=0) for one in side]) for side in (ours, theirs)]
        ahead = (means[0] < means[1]).sum(axis=0)
        ratios = means[0].mean(axis=0) / np.maximum(means[1].mean(axis=0), 1e-12)
        repeats = min(len(one) for one in ours)
        return [
            Difference(interval, float(ratio), int(number), len(ours), repeats)
            for interval, ratio, number in zip(intervals, ratios, ahead, strict=True)
        ]

    def _array(self, searcher: str, problem: str, seeds: set[int] | None = None) -> _Array:
        of = self._found[searcher][problem]
        found = [of[seed] for seed in sorted(of) if seeds is None or seed in seeds]
        return np.array([self._regrets(one.marks, one) for one in found])

    def _regrets(self, scores: Sequence[float | None], of: Outcome) -> list[float]:
        return [of.scale.regret(score, climbed=self._climbed) for score in scores]


def _intervals(of_problems: Sequence[_Array]) -> list[Interval]:
    """Return the interval at each mark, each problem weighing the same."""
    rng = np.random.default_rng(0)
    # The mean of a problem whose repeats are drawn anew, so often.
    drawn = np.array(
        [one[rng.integers(0, len(one), (_RESAMPLES, len(one)))].mean(axis=1) for one in of_problems]
    )
    which = rng.integers(0, len(drawn), (_RESAMPLES, len(drawn)))
    means = drawn[which, np.arange(_RESAMPLES)[:, None]].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    mean = np.mean([one.mean(axis=0) for one in of_problems], axis=0)
    return [Interval(*map(float, one)) for one in zip(mean, low, high, strict=True)]
