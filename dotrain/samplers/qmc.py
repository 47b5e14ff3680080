"""Points that cover the space evenly: quasi-random sequences of SciPy.

A point is a function of the seed and of its number, so nothing is learned but what was tried.
"""

from __future__ import annotations

from typing import Any, Literal, final

from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.seeding import derive_seed
from dotrain.samplers.packages import require
from dotrain.space import Params, Searchspace

#: Points that are made at a time; Sobol's come in powers of two.
_AT_A_TIME = 256
#: Points in a row that were all tried before, after which the sequence is left for a draw.
_MOST_TRIED = 1000


@final
class QMCSampler(AbstractSampler):
    """As of `dotrain.optimizers.model_based.QMC`."""

    learns = False

    def __init__(self, sequence: Literal["sobol", "halton"] = "sobol") -> None:
        """Make one.

        Args:
            sequence: Which.
        """
        self._sequence = sequence

    def check(self, space: Searchspace, num_trials: int | None) -> None:
        """Refuse an empty space, and a machine without SciPy."""
        require("qmc", "scipy", extra="qmc")
        if not space.names:
            raise ValueError("there is nothing in search.space to spread points over")

    def begin(self, space: Searchspace, seed: int) -> None:
        """Forget everything."""
        super().begin(space, seed)
        self._is_finite = space.size is not None
        self._tried: set[tuple[float, ...]] = set()
        self._points: list[list[float]] = []
        self._engine: Any = None
        self._engine_seed = derive_seed(seed, "sampler", self._sequence)

    def learn_trial(self, number: int, params: Params) -> None:
        """Of a finite space, leave it out from now on."""
        if self._is_finite:
            self._tried.add(tuple(self.space.to_unit(params)))

    def learn_outcome(self, outcome: Outcome) -> None:
        """Nothing depends on it."""

    def propose(self, question: Question) -> Params:
        """Return the first point from the question's number on that wasn't tried."""
        for number in range(question.number, question.number + _MOST_TRIED):
            params = self.space.from_unit(self._point(number))
            if not self._is_finite or tuple(self.space.to_unit(params)) not in self._tried:
                return params
        return params

    def _point(self, number: int) -> list[float]:
        if self._engine is None:
            import numpy as np
            from scipy.stats import qmc

            kind = {"sobol": qmc.Sobol, "halton": qmc.Halton}[self._sequence]
            # A generator is what both older and newer SciPy take for a seed.
            rng = np.random.default_rng(self._engine_seed)
            self._engine = kind(len(self.space.names), scramble=True, seed=rng)
        while len(self._points) <= number:
            self._points += self._engine.random(_AT_A_TIME).tolist()
        return self._points[number]
