"""How many configurations a space has, and which: without going through all of them.

A parameter's values are an *axis*, of which each value is known by its index. What others' conditions
say of an axis cuts it into *pieces*, within which all values mean the same to the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from dotrain.space.base import Domain
from dotrain.space.conditions import is_met
from dotrain.space.domains import Categorical, Discrete, Float
from dotrain.space.normal import LogNormal, Normal
from dotrain.space.values import as_list

_Names = frozenset[str]
_NONE: _Names = frozenset()


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


def never_together(domains: Mapping[str, Domain]) -> list[str]:
    """Return the names that no configuration has, since their conditions never hold together.

    Args:
        domains: By name; each condition by itself holds somewhere, and they go in no circle.
    """
    there = Configurations({name: _finite(name, domains) for name in domains}).names()
    # What depends on a name that is never there isn't at fault.
    return [
        name
        for name, domain in domains.items()
        if name not in there and there.issuperset(domain.when)
    ]


def _finite(name: str, domains: Mapping[str, Domain]) -> Domain:
    """Return a domain, of a continuum a value from between any two bounds of others' conditions."""
    domain = domains[name]
    if domain.size is not None:
        return domain
    assert isinstance(domain, Float | Normal | LogNormal)
    conditions = [one.when[name] for one in domains.values() if name in one.when]
    bounds = {bound for c in conditions if isinstance(c, Mapping) for bound in c.values()}
    low, high = domain.ends
    cuts = sorted({low, high, *(bound for bound in bounds if low < bound < high)})
    middles = dict.fromkeys(_between(a, b) for a, b in pairwise(cuts))
    return Discrete(values=tuple(middles), when=domain.when)


def _between(low: float, high: float) -> float:
    """Return a number between two, which may be infinite."""
    if math.isinf(low):
        return 0.0 if math.isinf(high) else high - max(1.0, abs(high))
    return low + max(1.0, abs(low)) if math.isinf(high) else (low + high) / 2


class Configurations:
    """All configurations of a finite space, each once.

    Attributes:
        size: How many there are.
    """

    def __init__(self, domains: Mapping[str, Domain], points: int | None = None) -> None:
        """Count them.

        Args:
            domains: By name; the conditions go in no circle.
            points: The most values per parameter. None takes every value.

        Raises:
            SpaceError: If a parameter is a continuum and `points` is None.
        """
        self._domains = domains
        self._axes = {name: Axis.of(domain, points) for name, domain in domains.items()}
        self._dependents: dict[str, list[str]] = {name: [] for name in domains}
        for name, domain in domains.items():
            for other in domain.when:
                self._dependents[other].append(name)
        self._order = self._dependents_early()
        self._pieces = {name: self._pieces_of(name) for name in self._order}
        #: What the parameters without any part in a condition make: their number of combinations.
        self._free = [name for name in domains if name not in self._pieces]
        free = 1
        for name in self._free:
            free *= self._axes[name].size
        self._count = cache(self._count_from)
        self.size = free * self._count(0, _NONE)

    def _dependents_early(self) -> list[str]:
        """Return the names with a part in a condition, each behind those it depends on."""
        waits = {name: len(domain.when) for name, domain in self._domains.items()}
        todo = [n for n in self._domains if not waits[n] and self._dependents[n]][::-1]
        order = []
        while todo:
            order.append(name := todo.pop())
            for dependent in self._dependents[name]:
                waits[dependent] -= 1
                if not waits[dependent]:
                    todo.append(dependent)
        return order

    def _pieces_of(self, name: str) -> list[tuple[int, int, _Names]]:
        """Return (first index, size, whose condition it fails) of each piece."""
        axis, dependents = self._axes[name], self._dependents[name]
        conditions = {one: self._domains[one].when[name] for one in dependents}
        return [
            (
                start,
                size,
                frozenset(n for n, c in conditions.items() if not is_met(c, axis.at(start))),
            )
            for start, size in axis.pieces(list(conditions.values()))
        ]

    def _choices(self, place: int, absent: _Names) -> list[tuple[int, int, _Names]]:
        """Return (first index, size, what is absent behind it); a size of 0 stands for no value."""
        name = self._order[place]
        if name in absent:
            return [(0, 0, (absent | frozenset(self._dependents[name])) - {name})]
        return [(start, size, absent | fails) for start, size, fails in self._pieces[name]]

    def _count_from(self, place: int, absent: _Names) -> int:
        """Count what the names from `place` on make, of which `absent` are known to have no value."""
        if place == len(self._order):
            return 1
        return sum(
            max(size, 1) * self._count(place + 1, behind)
            for _, size, behind in self._choices(place, absent)
        )

    def names(self) -> set[str]:
        """Return the names that any configuration has."""
        found = set(self._free)
        states = {_NONE}
        for place, name in enumerate(self._order):
            if any(name not in absent for absent in states):
                found.add(name)
            states = {behind for absent in states for *_, behind in self._choices(place, absent)}
        return found

    def at(self, number: int) -> dict[str, Any]:
        """Return one of them by a number in [0, size); in which order is nobody's business."""
        found: dict[str, Any] = {}
        for name in self._free:
            number, index = divmod(number, self._axes[name].size)
            found[name] = self._axes[name].at(index)
        absent = _NONE
        for place, name in enumerate(self._order):
            for start, size, behind in self._choices(place, absent):  # noqa: B007
                each = self._count(place + 1, behind)
                if number < max(size, 1) * each:
                    break
                number -= max(size, 1) * each
            absent = behind
            if size:
                index, number = divmod(number, each)
                found[name] = self._axes[name].at(start + index)
        return {name: found[name] for name in self._domains if name in found}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield them as a grid, the last name varying fastest."""
        names = list(self._domains)
        chosen: dict[str, int] = {}

        def fill(place: int) -> Iterator[dict[str, Any]]:
            if place == len(names):
                yield {n: self._axes[n].at(i) for n, i in chosen.items() if self._has(n, chosen)}
                return
            name = names[place]
            # What has no value stands at its first, so that each configuration comes once.
            size = self._axes[name].size if self._has(name, chosen) is not False else 1
            for index in range(size):
                chosen[name] = index
                if not self._dependents[name] or not self._contradicts(chosen):
                    yield from fill(place + 1)
            del chosen[name]

        return fill(0)

    def _has(self, name: str, chosen: Mapping[str, int]) -> bool | None:
        """Whether a name has a value beside those that are chosen; None if that can't be told yet."""
        answer: bool | None = True
        for other, condition in self._domains[name].when.items():
            there = self._has(other, chosen)
            if there and other in chosen:
                there = is_met(condition, self._axes[other].at(chosen[other]))
            elif there:
                there = None
            if there is False:
                return False
            answer = answer and there
        return answer

    def _contradicts(self, chosen: Mapping[str, int]) -> bool:
        """Whether a name that stands beyond its first value turns out to have none."""
        return any(index and self._has(name, chosen) is False for name, index in chosen.items())
