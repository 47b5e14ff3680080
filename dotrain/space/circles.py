"""Conditions that go round in a circle."""

from __future__ import annotations

from collections.abc import Mapping

from dotrain.space.base import Domain


def circles_of(domains: Mapping[str, Domain]) -> list[str]:
    """Return a name of each circle of conditions, the first of it."""
    behind = {name: _behind(name, domains) for name in domains}
    found: list[str] = []
    for name, others in behind.items():
        if name in others and not any(name in behind[o] and o in others for o in found):
            found.append(name)
    return found


def _behind(name: str, domains: Mapping[str, Domain]) -> set[str]:
    """Return the names that one depends on, by way of others too."""
    seen, todo = set[str](), [name]
    while todo:
        for other in domains[todo.pop()].when:
            if other in domains and other not in seen:
                seen.add(other)
                todo.append(other)
    return seen
