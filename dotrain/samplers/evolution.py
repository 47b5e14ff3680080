"""CMA-ES that is told results in the order in which they come; importing this imports NumPy and cmaes.

Source: Hansen, "The CMA Evolution Strategy: A Tutorial", 2016; the arithmetic is that of the package cmaes. A generation is
the next so many results, whichever distribution each was drawn from: as solutions that are injected, they are moved no
further than the distribution makes likely (Hansen, "Injecting External Solutions Into CMA-ES", 2011).
So no result is waited for, and none is lost. When the distribution has become a point, it begins anew at a random place with
twice the population (Auger and Hansen, "A Restart CMA Evolution Strategy With Increasing Population Size", 2005).

Whole numbers are told where they are in the unit cube, without the margin of CMAwM (Hamano and others, 2022), which
was slower and stuck no less often where that was tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
from cmaes import CMA
from numpy.typing import NDArray

from dotrain.core.seeding import derive_seed
from dotrain.samplers.packages import single_threaded

Array = NDArray[np.float64]

#: The standard deviation to begin with, in the unit cube.
_SIGMA = 0.2
#: No train function tells places apart that are nearer, in the unit cube.
_A_POINT = 1e-7

one_thread = single_threaded()


@final
class Evolution:
    """A normal distribution over the unit cube, which moves to where results are better."""

    def __init__(self, dims: int, seed: int, population: int | None) -> None:
        """Begin in the middle.

        Args:
            dims: Parameters, 1 or more.
            seed: Of where it begins anew.
            population: Results of a generation; None for ``4 + 3 log dims``.
        """
        self._dims, self._seed = dims, seed
        self.population = population or 4 + math.floor(3 * math.log(dims))
        self._restarts = 0
        self._begin(np.full(dims, 0.5))

    def _begin(self, mean: Array) -> None:
        bounds = np.array([[0.0, 1.0]] * self._dims)
        self._cma = CMA(mean, _SIGMA, bounds=bounds, population_size=self.population, seed=0)

    def ask(self, seed: int, count: int) -> list[list[float]]:
        """Return places drawn from the distribution.

        Args:
            seed: Of the draws.
            count: How many.
        """
        self._cma.reseed_rng(seed)
        return [self._cma.ask().tolist() for _ in range(count)]

    def tell(self, places: Sequence[Sequence[float]]) -> None:
        """Learn a generation.

        Args:
            places: As many as the population, best first.
        """
        mean, sigma, covariance = self._cma.mean, self._cma._sigma, self._cma._C
        inverse = np.linalg.pinv(covariance, hermitian=True)
        likely = math.sqrt(self._dims) + 2 * self._dims / (self._dims + 2)
        told = []
        for rank, place in enumerate(places):
            step = np.array(place) - mean
            length = math.sqrt(max(float(step @ inverse @ step), 0.0)) / sigma
            told.append((mean + step * min(1.0, likely / max(length, 1e-300)), float(rank)))
        self._cma.tell(told)
        deviations = self._cma._sigma * np.sqrt(np.diag(self._cma._C))
        if deviations.max() < _A_POINT or self._cma.should_stop():
            self._restarts += 1
            self.population *= 2
            rng = np.random.default_rng(derive_seed(self._seed, "restart", self._restarts))
            self._begin(rng.random(self._dims))
