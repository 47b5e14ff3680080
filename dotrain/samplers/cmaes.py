"""CMA-ES as a sampler; the distribution and how it learns are in `evolution.py`, which imports NumPy and cmaes."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.seeding import derive_seed
from dotrain.core.trial import TrialState
from dotrain.samplers.packages import require
from dotrain.space import Categorical, Params, Searchspace

if TYPE_CHECKING:
    from dotrain.samplers.evolution import Evolution

#: Draws that were all tried before, after which the last is returned.
_DRAWS = 100
_OTHERS = "use 'tpe' or 'gp'"


@final
class CMAESSampler(AbstractSampler):
    """As of `dotrain.optimizers.model_based.CMAES`."""

    def __init__(self, population: int | None = None) -> None:
        """Make one.

        Args:
            population: Results of a generation (>= 4); by default by the number of parameters.
        """
        self._population = population

    def check(self, space: Searchspace, num_trials: int | None) -> None:
        """Refuse what has no order, and a machine without cmaes."""
        require("cmaes", "cmaes", extra="cmaes")
        if not space.names:
            raise ValueError("there is nothing in search.space to make a model of")
        for name, domain in space.domains.items():
            if isinstance(domain, Categorical):
                raise ValueError(
                    f"CMA-ES needs values in an order, and '{name}' is categorical; {_OTHERS}"
                )
            if domain.when:
                raise ValueError(
                    f"CMA-ES needs every parameter in every trial, and '{name}' has a condition; {_OTHERS}"
                )

    def begin(self, space: Searchspace, seed: int) -> None:
        """Forget everything."""
        super().begin(space, seed)
        self._params: list[Params] = []
        self._is_finite = space.size is not None
        self._tried: set[tuple[float, ...]] = set()
        #: What has ended, in that order, by level.
        self._ended: dict[float | None, list[Outcome]] = {}
        #: The distribution, and how many of the ended it has learned, by level.
        self._learned: dict[float | None, tuple[Evolution, int]] = {}

    def learn_trial(self, number: int, params: Params) -> None:
        """Of a finite space, leave it out from now on."""
        assert number == len(self._params), "a trial has been left out"
        self._params.append(params)
        if self._is_finite:
            self._tried.add(tuple(self.space.to_unit(params)))

    def learn_outcome(self, outcome: Outcome) -> None:
        """Keep it for the next generation, unless nothing is known by it."""
        if outcome.state is not TrialState.FAILED:
            for level in {None, outcome.budget}:
                self._ended.setdefault(level, []).append(outcome)

    def propose(self, question: Question) -> Params:
        """Draw from the distribution of all full generations."""
        from dotrain.samplers.evolution import one_thread

        with one_thread():
            evolution, seed = self._evolution(question.level), self.seed_of(question)
            places = evolution.ask(seed, _DRAWS if self._is_finite else 1)
        for place in places:
            params = self.space.from_unit(place)
            if not self._is_finite or tuple(self.space.to_unit(params)) not in self._tried:
                break
        return params

    def _evolution(self, level: float | None) -> Evolution:
        if level not in self._learned:
            from dotrain.samplers.evolution import Evolution

            seed = derive_seed(self._seed, "sampler", "evolution")
            self._learned[level] = Evolution(len(self.space.names), seed, self._population), 0
        evolution, learned = self._learned[level]
        ended = self._ended.get(level, [])
        while len(ended) - learned >= evolution.population:
            generation = sorted(ended[learned : learned + evolution.population], key=_rank)
            learned += evolution.population
            evolution.tell([self.space.to_unit(self._params[one.number]) for one in generation])
        self._learned[level] = evolution, learned
        return evolution


def _rank(outcome: Outcome) -> tuple[int, float, float]:
    """Return what sorts the best first.

    Those stopped early are behind the finished, longer ones first, then what is infeasible, by how much, then the rest.
    Source of that for constraints: Deb, "An Efficient Constraint Handling Method for Genetic Algorithms", 2000.
    """
    if outcome.score is None:
        return 3, 0.0, 0.0
    if outcome.excess > 0:
        return 2, outcome.excess, 0.0
    if outcome.state is TrialState.FINISHED:
        return 0, -outcome.score, 0.0
    return 1, -outcome.steps, -outcome.score
