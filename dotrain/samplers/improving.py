"""The configuration that promises most by a Gaussian process; importing this imports NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import final

import numpy as np

from dotrain.samplers.gaussian_process import Array, GaussianProcess
from dotrain.space import Categorical, Params, Searchspace

#: Configurations drawn at random to begin with, or all if there are no more, and neighbours of the best tried.
_DRAWN, _NEIGHBOURS = 500, 100
#: Of how many neighbours are looked at, how often, and how many each time.
_PARENTS, _ROUNDS, _CHILDREN = 6, 8, 96
#: How far neighbours are away at first, in the unit cube; halved each time.
_REACH = 0.2


def encode(space: Searchspace, params: Params) -> list[float]:
    """Return the place of a configuration in the unit cube; what is not in use has one of its own."""
    return [
        -1.0 if isinstance(domain, Categorical) and name not in params else place
        for (name, domain), place in zip(space.domains.items(), space.to_unit(params), strict=True)
    ]


@final
class Search:
    """A search of a space for what improves most: among draws, then near the best, ever nearer.

    Candidates come of a seed alone and the model only ranks them: so rounding, which differs between machines, has
    hardly a say in what is found.
    """

    def __init__(self, space: Searchspace, model: GaussianProcess, seed: int) -> None:
        """Look at nothing yet.

        Args:
            space: What is searched.
            model: Ranks.
            seed: Of the candidates.
        """
        self._space, self._model = space, model
        self._rng = Random(seed)
        self._domains = list(space.domains.values())
        self._seen: set[tuple[float, ...]] = set()
        self._found: list[tuple[float, list[float], Params]] = []

    def run(self, tried: Sequence[Params], places: Array) -> Params | None:
        """Return the most promising configuration; None if all that were looked at have been tried.

        Args:
            tried: Of a finite space what isn't to be proposed.
            places: Of what has a result.
        """
        self._seen |= {tuple(encode(self._space, params)) for params in tried}
        size = self._space.size
        if size is not None and size <= _DRAWN:
            self._look(self._space.configurations())
        else:
            self._climb(places)
        return self._found[0][2] if self._found else None

    def _climb(self, places: Array) -> None:
        best = places[np.argsort(-self._model.mean(places), kind="stable")[:_PARENTS]]
        self._look(self._space.sample(self._rng) for _ in range(_DRAWN))
        self._look(self._near(best.tolist(), _REACH / 2, _NEIGHBOURS))
        for k in range(_ROUNDS):
            parents = [place for _, place, _ in self._found[:_PARENTS]]
            self._look(self._near(parents, _REACH / 2**k, _CHILDREN))

    def _look(self, candidates: Iterable[Params]) -> None:
        places, configurations = [], []
        for params in candidates:
            place = encode(self._space, params)
            if tuple(place) not in self._seen:
                self._seen.add(tuple(place))
                places.append(place)
                configurations.append(params)
        if not places:
            return
        gains = self._model.log_expected_improvement(np.array(places)).tolist()
        self._found += zip(gains, places, configurations, strict=True)
        self._found.sort(key=lambda found: -found[0])
        del self._found[_PARENTS:]

    def _near(self, parents: list[list[float]], reach: float, count: int) -> Iterator[Params]:
        for k in range(count if parents else 0):
            yield self._space.from_unit(self._moved(parents[k % len(parents)], reach))

    def _moved(self, place: list[float], reach: float) -> list[float]:
        rng = self._rng
        share = max(0.5, 1 / len(place)) if rng.random() < 0.5 else 1 / len(place)
        sure = rng.randrange(len(place))
        # What isn't in use, and may be in a neighbour, is anywhere.
        moved = [rng.random() if u < 0 else u for u in place]
        for k, domain in enumerate(self._domains):
            if k != sure and rng.random() >= share:
                continue
            if isinstance(domain, Categorical):
                moved[k] = rng.random()
                continue
            # A step that stays among the same values is none.
            least = 0.0 if domain.size is None else 0.7 / domain.size
            moved[k] = min(max(moved[k] + rng.gauss(0, max(reach, least)), 0.0), 1.0)
        return moved
