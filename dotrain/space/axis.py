"""The values of one parameter, in order, without going through all of them.

A parameter's values are an *axis*, of which each value is known by its index. What others' conditions
say of an axis cuts it into *pieces*, within which all values mean the same to the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dotrain.space.base import Domain
from dotrain.space.conditions import is_met
from dotrain.space.domains import Categorical
from dotrain.space.values import as_list


@dataclass(frozen=True)
class Axis:
    """The values of one parameter, in order.

    Attributes:
        size: How many; too many to be listed, perhaps.
        at: Returns the value at an index from 0.
        ascends: Whether larger indices are larger numbers.
    """

    size: int
    at: Callable[[int], Any]
    ascends: bool

    @classmethod
    def of(cls, domain: Domain, points: int | None = None) -> Axis:
        """Return the axis of a domain.

        Raises:
            SpaceError: If the domain is a continuum and `points` is None.
        """
        ascends = not isinstance(domain, Categorical)
        if domain.size is not None and (points is None or domain.size <= points):
            return cls(domain.size, domain.at, ascends)
        values = domain.grid(points)
        return cls(len(values), values.__getitem__, ascends)

    def first(self, holds: Callable[[Any], bool]) -> int:
        """Return the first index whose value `holds`, as then all later ones do; else `size`."""
        low, high = 0, self.size
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(self.at(middle)) else (middle + 1, high)
        return low

    def meets(self, condition: Any) -> bool:
        """Whether any value meets a condition."""
        return any(is_met(condition, self.at(start)) for start, _ in self.pieces([condition]))

    def pieces(self, conditions: Sequence[Any]) -> list[tuple[int, int]]:
        """Return (first index, size) of pieces whose values meet the same of the conditions."""
        if not self.ascends:
            cuts = set(range(self.size + 1))
        else:
            cuts = {0, self.size}
            for condition in conditions:
                cuts |= self._cuts(condition)
        ordered = sorted(cuts)
        return [(start, end - start) for start, end in pairwise(ordered)]

    def _cuts(self, condition: Any) -> set[int]:
        if isinstance(condition, Mapping):
            low, high = condition.get("min"), condition.get("max")
            bounds = [] if low is None else [self.first(lambda value: value >= low)]
            return {*bounds, *([] if high is None else [self.first(lambda value: value > high)])}
        numbers = [value for value in as_list(condition) if isinstance(value, int | float)]
        return {
            cut
            for number in numbers
            for cut in (
                self.first(lambda value, n=number: value >= n),  # type: ignore[misc]
                self.first(lambda value, n=number: value > n),  # type: ignore[misc]
            )
        }
