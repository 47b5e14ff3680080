"""A Gaussian process with expected improvement as a sampler.

The process and what optimises its expected improvement are in `gaussian_process.py` and `improving.py`, which import
NumPy and SciPy. All is fitted anew for each question, so a proposal depends on nothing but what is known.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from statistics import median, quantiles
from typing import final

from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.seeding import derive_seed
from dotrain.core.trial import TrialState
from dotrain.samplers.packages import require
from dotrain.space import Categorical, Params, Searchspace

#: A search for more configurations than this is refused.
_MOST_TRIALS = 1000
#: So many results are modelled at most; the time for them grows with the third power.
_MOST_RESULTS = 500
#: How far beyond constraints is what isn't known to keep them.
_FAR = 1e9


@final
class GPSampler(AbstractSampler):
    """As of `dotrain.optimizers.model_based.GP`."""

    def check(self, space: Searchspace, num_trials: int | None) -> None:
        """Refuse an empty space, too many trials, and a machine without SciPy."""
        require("gp", "scipy", extra="gp")
        if not space.names:
            raise ValueError("there is nothing in search.space to make a model of")
        if num_trials is not None and num_trials > _MOST_TRIALS:
            raise ValueError(
                f"num_trials {num_trials} is more than a Gaussian process is for: the time of a question grows "
                f"with the third power of the results, and {_MOST_TRIALS} trials is the most; use 'tpe'"
            )

    def begin(self, space: Searchspace, seed: int) -> None:
        """Forget everything."""
        super().begin(space, seed)
        self._params: list[Params] = []
        self._last: dict[int, dict[float | None, Outcome]] = {}

    def learn_trial(self, number: int, params: Params) -> None:
        """Take it for one that runs."""
        assert number == len(self._params), "a trial has been left out"
        self._params.append(params)

    def learn_outcome(self, outcome: Outcome) -> None:
        """Take it for one that has ended."""
        of_trial = self._last.setdefault(outcome.number, {})
        of_trial[None] = of_trial[outcome.budget] = outcome

    def propose(self, question: Question) -> Params:
        """Fit a process, and return what improves most by it."""
        import numpy as np

        from dotrain.samplers.gaussian_process import GaussianProcess, one_thread
        from dotrain.samplers.improving import Search, encode

        seed = self.seed_of(question)
        results = self._results(question.level)
        if not results:
            return self.space.sample(Random(seed))
        places = np.array([encode(self.space, self._params[number]) for number in results])
        with one_thread():
            unordered = np.array(
                [isinstance(domain, Categorical) for domain in self.space.domains.values()]
            )
            model = GaussianProcess(places, np.array([*results.values()]), unordered, seed)
            unknown = [encode(self.space, self._params[number]) for number in self._unknown()]
            if unknown:
                model.believe(np.array(unknown))
            tried = self._params if self.space.size is not None else []
            found = Search(self.space, model, seed).run(tried, places)
        return self.space.sample(Random(seed)) if found is None else found

    def _unknown(self) -> list[int]:
        """Return the numbers of what runs, and of what failed: nothing is known there, and nothing more is to be tried."""
        return [
            number
            for number in range(len(self._params))
            if number not in self._last or self._last[number][None].state is TrialState.FAILED
        ]

    def _results(self, level: float | None) -> dict[int, float]:
        """Return the scores that are modelled by trial, in the trials' order."""
        ended = {
            number: of_trial[level]
            for number, of_trial in sorted(self._last.items())
            if level in of_trial and of_trial[level].state is not TrialState.FAILED
        }
        if ended and all(one.excess > 0 for one in ended.values() if one.score is not None):
            # None is feasible yet: first the way to where some are.
            ended = {number: _feasibility(one) for number, one in ended.items()}
        scored = [one for one in ended.values() if one.score is not None and not one.excess]
        finished = [one.score for one in scored if one.state is TrialState.FINISHED]
        known = [score for score in finished or [one.score for one in scored] if score is not None]
        if not known:
            return {}
        scores = {number: _score(one, known) for number, one in ended.items()}
        return self._modelled(_without_outliers(scores))

    def _modelled(self, scores: dict[int, float]) -> dict[int, float]:
        """Return the best half, and any of the others, where there are too many."""
        if len(scores) <= _MOST_RESULTS:
            return scores
        ranked = sorted(scores, key=lambda number: (-scores[number], number))
        best, others = ranked[: _MOST_RESULTS // 2], ranked[_MOST_RESULTS // 2 :]
        # By a rank of its own for each trial, so that the next question has nearly the same ones.
        others.sort(key=lambda number: derive_seed(self._seed, "sampler", "modelled", number))
        chosen = {*best, *others[: _MOST_RESULTS - len(best)]}
        return {number: score for number, score in scores.items() if number in chosen}


def _score(outcome: Outcome, known: list[float]) -> float:
    """Return what one counts for: its score; stopped, it is in the lower half, infeasible or without one, the last."""
    if outcome.score is None or outcome.excess > 0:
        return min(known)
    return (
        outcome.score if outcome.state is TrialState.FINISHED else min(outcome.score, median(known))
    )


def _feasibility(outcome: Outcome) -> Outcome:
    """Return it as if it were feasible, and better the nearer it has come to that."""
    score = None if outcome.score is None else -min(outcome.excess, _FAR)
    return replace(outcome, score=score, violations=())


def _without_outliers(scores: dict[int, float]) -> dict[int, float]:
    """Return scores with those that are far too bad moved up to Tukey's fence, as they would flatten all others."""
    if len(scores) < 4:
        return scores
    low, _, high = quantiles(scores.values(), n=4)
    if low == high:
        return scores
    return {number: max(score, low - 1.5 * (high - low)) for number, score in scores.items()}
