"""What every hyperparameter has: values on the unit interval, and conditions.

A domain maps one number of the unit interval to a value (`from_unit`) and back (`to_unit`);
sampling, grids and model-based optimizers all go through that pair. The fields of a domain are
the keys of the YAML form, so `Float(range=(1e-4, 1e-1), scale="log")` reads like the config.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any, ClassVar

from dotrain.space.conditions import check_when, condition_text, plain_when
from dotrain.space.values import SpaceError, as_sequence, plain_if_possible, value_key


@dataclass(frozen=True, kw_only=True)
class Domain(ABC):
    """One hyperparameter: its values, and when it exists at all.

    Attributes:
        when: Conditions of the form ``{other: value}``, ``{other: [values]}`` or, of a number,
            ``{other: {min: low, max: high}}`` with one end or both; the parameter is part of a
            trial only if all of them hold. Empty means always.
    """

    #: Read by pydantic where the config is validated: a domain takes no keys but its fields, and
    #: no text for a number.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}

    when: Mapping[str, Any] = field(default_factory=dict)

    def _take(self, key: str) -> None:
        """Take the values of a field as what they stand for; what can't be is left for the checks."""
        take = {"when": plain_when, "step": plain_if_possible}.get(key, as_sequence)
        object.__setattr__(self, key, take(getattr(self, key)))

    def _check_when(self) -> None:
        self._take("when")
        check_when(self.when)

    @property
    @abstractmethod
    def size(self) -> int | None:
        """Number of different values, or None for a continuum."""

    @abstractmethod
    def from_unit(self, u: float) -> Any:
        """Map `u` in [0, 1] to a value; equal intervals of `u` are equally likely values."""

    @abstractmethod
    def to_unit(self, value: Any) -> float:
        """Map a value to [0, 1], such that `from_unit` gives it back.

        Raises:
            ValueError: If `value` is not in the domain.
        """

    @abstractmethod
    def __contains__(self, value: object) -> bool: ...

    def _condition(self) -> str:
        texts = [condition_text(other, one) for other, one in self.when.items()]
        return f" if {' and '.join(texts)}" if texts else ""

    def to_data(self) -> dict[str, Any]:
        """Return the YAML form: the type, and what differs from its default."""
        kind = {}
        given = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "type":
                kind = {"type": value}
            elif value != ({} if item.name == "when" else item.default):
                given[item.name] = value
        return {**kind, **given}

    def sample(self, rng: Random) -> Any:
        """Draw one value with one draw of `rng`."""
        return self.from_unit(rng.random())

    def at(self, index: int) -> Any:
        """Return the value at an index in [0, size), in the order of the grid."""
        assert self.size is not None, "a continuum has no values to count"
        return self.from_unit((index + 0.5) / self.size)

    def grid(self, points: int | None = None) -> list[Any]:
        """Return the values of a grid, in order.

        Args:
            points: The most values, spread evenly over the unit interval. None takes every value.

        Raises:
            SpaceError: If the domain is a continuum and `points` is None.
        """
        if self.size is not None and (points is None or self.size <= points):
            return [self.at(index) for index in range(self.size)]
        if points is None:
            raise SpaceError("a grid over a float needs 'step' here or 'points' in the optimizer")
        ends = [i / (points - 1) for i in range(points)] if points > 1 else [0.5]
        values = [self.from_unit(u) for u in ends]
        return list({value_key(value): value for value in values}.values())


def index_of(u: float, size: int) -> int:
    """Return which of `size` equal parts of [0, 1] has `u` in it."""
    return min(int(u * size), size - 1)


def require_in(domain: Domain, value: Any) -> None:
    """Raise a ValueError if a value is not in a domain."""
    if value not in domain:
        raise ValueError(f"{value!r} is not in {domain}")
