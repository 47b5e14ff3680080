"""How many configurations a space has, and which: without going through all of them.

Parameters that constraints hold together are gone through; the rest is counted by pieces of axes, see `axis`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from dotrain.space.axis import Axis
from dotrain.space.base import Domain
from dotrain.space.conditions import is_met
from dotrain.space.constraints import Constraint
from dotrain.space.values import SpaceError

_Names = frozenset[str]
_NONE: _Names = frozenset()

#: What constraints hold together is gone through, up to so many combinations.
MOST_COMBINATIONS: Final = 200_000


class _Part(NamedTuple):
    """Parameters that constraints and conditions hold together: their combinations, and which of them are meant."""

    all: Configurations
    met: Sequence[int]


class Configurations:
    """All configurations of a finite space, each once.

    Attributes:
        size: How many there are.
    """

    def __init__(
        self,
        domains: Mapping[str, Domain],
        points: int | None = None,
        constraints: Sequence[Constraint] = (),
    ) -> None:
        """Count them.

        Args:
            domains: By name; the conditions go in no circle.
            points: The most values per parameter. None takes every value.
            constraints: What each has to meet.

        Raises:
            SpaceError: If a parameter is a continuum and `points` is None, or constraints hold together more
                combinations than can be gone through.
        """
        self._domains = domains
        self._axes = {name: Axis.of(domain, points) for name, domain in domains.items()}
        self._dependents: dict[str, list[str]] = {name: [] for name in domains}
        for name, domain in domains.items():
            for other in domain.when:
                self._dependents[other].append(name)
        self._constraints = constraints
        self._parts: list[_Part] = []
        held: set[str] = set()
        for names in _held_together(domains, constraints):
            held |= names
            self._parts.append(
                _part({n: d for n, d in domains.items() if n in names}, points, constraints)
            )
        #: Those that no constraint has to do with.
        self._counted = {name: domain for name, domain in domains.items() if name not in held}
        self._order = self._dependents_early()
        self._pieces = {name: self._pieces_of(name) for name in self._order}
        #: What the parameters without any part in a condition make: their number of combinations.
        self._free = [name for name in self._counted if name not in self._pieces]
        free = 1
        for name in self._free:
            free *= self._axes[name].size
        self._count = cache(self._count_from)
        self.size = free * self._count(0, _NONE) * math.prod(len(part.met) for part in self._parts)

    def _dependents_early(self) -> list[str]:
        """Return the names with a part in a condition, each behind those it depends on."""
        waits = {name: len(domain.when) for name, domain in self._counted.items()}
        todo = [n for n in self._counted if not waits[n] and self._dependents[n]][::-1]
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
        for part in self._parts:
            number, index = divmod(number, len(part.met))
            found |= part.all.at(part.met[index])
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
        due = self._due(names)

        def fill(place: int) -> Iterator[dict[str, Any]]:
            if place == len(names):
                yield {n: self._axes[n].at(i) for n, i in chosen.items() if self._has(n, chosen)}
                return
            name = names[place]
            # What has no value stands at its first, so that each configuration comes once.
            size = self._axes[name].size if self._has(name, chosen) is not False else 1
            for index in range(size):
                chosen[name] = index
                if (not self._dependents[name] or not self._contradicts(chosen)) and self._meets(
                    due[place], chosen
                ):
                    yield from fill(place + 1)
            del chosen[name]

        return fill(0)

    def _due(self, names: Sequence[str]) -> list[list[Constraint]]:
        """Return the constraints that can be asked when a name is chosen, and not before, by its place."""
        due: list[list[Constraint]] = [[] for _ in names]
        for constraint in self._constraints:
            needed = set(constraint.names)
            todo = list(needed)
            while todo:
                new = set(self._domains[todo.pop()].when) - needed
                needed |= new
                todo += new
            due[max(names.index(name) for name in needed)].append(constraint)
        return due

    def _meets(self, constraints: Sequence[Constraint], chosen: Mapping[str, int]) -> bool:
        return all(
            constraint.holds(
                {n: self._axes[n].at(chosen[n]) for n in constraint.names if self._has(n, chosen)}
            )
            for constraint in constraints
        )

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


def _held_together(
    domains: Mapping[str, Domain], constraints: Sequence[Constraint]
) -> list[set[str]]:
    """Return the names that constraints have to do with, in groups that have nothing to do with each other."""
    links = [{name, *domain.when} for name, domain in domains.items()]
    groups: list[set[str]] = []
    for link in [*(set(constraint.names) for constraint in constraints), *links]:
        touched = [group for group in groups if group & link]
        groups = [group for group in groups if not group & link]
        groups.append(link.union(*touched))
    named = {name for constraint in constraints for name in constraint.names}
    return [group for group in groups if group & named]


def _part(
    domains: Mapping[str, Domain], points: int | None, constraints: Sequence[Constraint]
) -> _Part:
    found = Configurations(domains, points)
    if found.size > MOST_COMBINATIONS:
        raise SpaceError(
            f"constraints hold {', '.join(domains)} together, which have {found.size:,} combinations: more than "
            f"the {MOST_COMBINATIONS:,} that are gone through"
        )
    own = [constraint for constraint in constraints if set(constraint.names) <= set(domains)]

    def meets(number: int) -> bool:
        params = found.at(number)
        return all(constraint.holds(params) for constraint in own)

    return _Part(found, array("q", filter(meets, range(found.size))))
