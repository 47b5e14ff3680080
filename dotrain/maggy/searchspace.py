"""Maggy's `Searchspace`: types and regions by name, around the space that is searched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from dotrain import space as own
from dotrain.errors import UsageError

Pair = tuple[str, list[Any]]


class Searchspace:
    """Pairs ``(type, region)`` by name, as in ``Searchspace(kernel=('INTEGER', [2, 8]))``; `space` is dotrain's."""

    DOUBLE, INTEGER, DISCRETE, CATEGORICAL = own.DECK_TYPES

    def __init__(self, **params: Any) -> None:
        self.space, self.rng = own.Searchspace(), Random()
        self._pairs: dict[str, Pair] = {}
        for name, value in params.items():
            self.add(name, value)

    def add(self, name: str, value: Any) -> None:
        """Add a hyperparameter; an attribute of its name has its region from then on."""
        if hasattr(self, name):
            raise UsageError(f"Searchspace: '{name}' is there already, or a word of Maggy's own")
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise UsageError(f"Searchspace: '{name}': expected (type, [...]), got {value!r}")
        self.space.add(name, value)
        self._pairs[name] = value[0].upper(), [*value[1]]
        setattr(self, name, self._pairs[name][1])

    def names(self) -> dict[str, str]:
        """Return the types by name."""
        return {name: kind for name, (kind, _) in self._pairs.items()}

    def to_dict(self) -> dict[str, Pair]:
        """Return the pairs by name: ``Searchspace(**sp.to_dict())`` is an equal one."""
        return dict(self._pairs)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a region."""
        return self._pairs[name][1] if name in self._pairs else default

    def keys(self) -> list[str]:
        """Return the names, in the order they were added."""
        return [*self._pairs]

    def values(self) -> list[Pair]:
        """Return the pairs, likewise."""
        return [*self._pairs.values()]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for name, (kind, region) in self._pairs.items():
            yield {"name": name, "type": kind, "values": region}

    items = __iter__

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, name: object) -> bool:
        return name in self._pairs

    def get_random_parameter_values(self, num: int) -> list[dict[str, Any]]:
        """Draw configurations; in a run's optimizer by the run's seed."""
        return [self.space.sample(self.rng) for _ in range(num)]

    def transform(self, hparams: Sequence[Any]) -> list[float]:
        """Map the values of a configuration, in the order of `keys`, to the unit cube."""
        return self.space.to_unit(dict(zip(self._pairs, hparams, strict=True)))

    def inverse_transform(self, hparams: Sequence[float]) -> list[Any]:
        """Map a point of the unit cube to the values of a configuration."""
        return [*self.space.from_unit([float(unit) for unit in hparams]).values()]
