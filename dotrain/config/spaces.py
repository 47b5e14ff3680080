"""What is searched: the domains of a config, and what must hold between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dotrain.config.errors import Problem
from dotrain.config.search import Search
from dotrain.config.source import Source
from dotrain.space import Constraint, Searchspace, SpaceError

_SPACE, _CONSTRAINTS = ("search", "space"), ("search", "space_constraints")


def make_space(
    search: Search | None, hparams: Mapping[str, Any], source: Source, *, goes_on: bool
) -> tuple[Searchspace, list[Problem]]:
    """Return the space of a config, and what is wrong with it.

    Args:
        search: The section; None searches nothing.
        hparams: Fixed hyperparameters.
        source: The config.
        goes_on: As of `Searchspace.problems`.
    """
    if search is None:
        return Searchspace(), []
    space = Searchspace.unchecked(search.space)
    problems = [
        source.problem((*_SPACE, name), message)
        for name, message in space.problems(goes_on=goes_on)
    ]
    constraints = []
    for index, text in enumerate(search.space_constraints):
        try:
            constraints.append((index, Constraint(text, space.domains, hparams)))
        except SpaceError as error:
            problems.append(source.problem((*_CONSTRAINTS, index), str(error)))
    if constraints and not problems:
        problems += _never_met(space, dict(constraints), source)
        space = space.constrained([constraint for _, constraint in constraints])
    return space, problems


def _never_met(
    space: Searchspace, constraints: Mapping[int, Constraint], source: Source
) -> Iterator[Problem]:
    """Yield what keeps the space from being drawn from: single constraints, or all of them together."""
    share = space.constrained([*constraints.values()]).share
    if not share.problem:
        return
    advice = "" if share.is_exact else "; narrow the ranges instead"
    alone = False
    for index, constraint in constraints.items():
        if problem := space.constrained([constraint]).share.problem:
            alone = True
            yield source.problem((*_CONSTRAINTS, index), f"{problem} it{advice}")
    if not alone:
        yield source.problem(_CONSTRAINTS, f"{share.problem} all of them{advice}", at_key=True)
