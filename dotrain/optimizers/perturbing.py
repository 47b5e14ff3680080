"""A configuration near another one: the explore step of population based training."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from dotrain.space import Categorical, Discrete, Domain, Params, Searchspace

#: Neighbours that are tried until one meets the space's constraints.
_TRIES: Final = 100


def perturbed(
    space: Searchspace,
    params: Params,
    rng: Random,
    factors: tuple[float, float],
    resample_probability: float,
) -> Params:
    """Return a configuration of the space near another one, or that one if none that was tried meets the constraints.

    Each number is multiplied by one of the factors and kept within its range; a whole or stepped one moves by one at
    least, one of a list goes to a neighbour. What a factor can't move (0, or what lies at an end) goes the other way, or by the
    same part of its range. A categorical value has no neighbours, and stays. Any of them is drawn anew
    with some probability, and what is in use only now always is.

    Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017, section 4.1: perturb and resample. That
    numbers stay in their ranges is ours.

    Args:
        space: What is searched.
        params: A configuration of it.
        rng: The only source of randomness.
        factors: Below and above 1.
        resample_probability: Of each parameter, in [0, 1].
    """

    def value_of(name: str) -> Any:
        domain = space.domains[name]
        if name not in params or rng.random() < resample_probability:
            return domain.sample(rng)
        value, factor = params[name], rng.choice(factors)
        return value if isinstance(domain, Categorical) else _moved(domain, value, factor, factors)

    for _ in range(_TRIES):
        found = space.build(value_of)
        if not space.unmet(found):
            return found
    return dict(params)


def _moved(domain: Domain, value: Any, factor: float, factors: tuple[float, float]) -> Any:
    """Return a number near another one: by a factor, else by the other one, else by a part of the range."""
    other = factors[0] if factor == factors[1] else factors[1]
    for move in (_by_factor, _by_share) if domain.size is None else (_by_index,):
        for one in (factor, other):
            found = move(domain, value, one)
            if found != value and found in domain:
                return found
    return value


def _by_factor(domain: Domain, value: Any, factor: float) -> Any:
    low, high = domain.ends  # type: ignore[attr-defined]
    return min(max(value * factor, low), high)


def _by_share(domain: Domain, value: Any, factor: float) -> Any:
    return domain.from_unit(min(max(domain.to_unit(value) + factor - 1, 0.0), 1.0))


def _by_index(domain: Domain, value: Any, factor: float) -> Any:
    """Return the value of a list, or of the steps of a range, that is nearest to the product; another one at any rate."""
    assert domain.size is not None
    if isinstance(domain, Discrete):
        index = domain.values.index(value)
        nearest = index
    else:
        low, step = domain.range[0], domain.step or 1  # type: ignore[attr-defined]
        index, nearest = round((value - low) / step), round((value * factor - low) / step)
    goes_up = nearest > index if nearest != index else factor > 1
    index = max(index + 1, nearest) if goes_up else min(index - 1, nearest)
    return domain.at(min(max(index, 0), domain.size - 1))
