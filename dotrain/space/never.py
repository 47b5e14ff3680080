"""Conditions that never hold: by themselves, or together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from dotrain.space.axis import Axis
from dotrain.space.base import Domain
from dotrain.space.conditions import condition_text
from dotrain.space.counting import Configurations
from dotrain.space.domains import Categorical, Discrete, Float
from dotrain.space.normal import LogNormal, Normal
from dotrain.space.values import as_list, is_number, value_text


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


def unmet(other: str, domain: Domain, condition: Any) -> Iterator[str]:
    """Yield what is wrong with a condition on a parameter, of which the domain is given."""
    if isinstance(condition, Mapping):
        if isinstance(domain, Categorical):
            yield f"'{other}' is categorical and has no order; write a list of its values"
        elif not _is_ever(domain, condition):
            yield f"{condition_text(other, condition)} never holds; '{other}' is {domain}"
        return
    values = as_list(condition)
    numbers = [value for value in values if is_number(value)]
    if isinstance(domain, Float | Normal | LogNormal) and domain.size is None and numbers:
        low, high = min(numbers), max(numbers)
        write = (
            f"{{min: {low}}} or {{max: {low}}}" if low == high else f"{{min: {low}, max: {high}}}"
        )
        shown = ", ".join(map(str, numbers))
        yield f"'{other}' is a {domain.type} and never exactly {shown}; write a range: {write}"
    for value in values:
        if domain.size is None and is_number(value):
            continue
        if domain.size is None or not Axis.of(domain).meets([value]):
            yield f"'{other}' is never {value!r}{_instead(domain, condition)}"
            if _instead(domain, condition):
                return


def _instead(domain: Domain, condition: Any) -> str:
    """Say how a value that is a list is written, if one was meant."""
    is_list = isinstance(condition, list | tuple) and list(condition) in domain
    return f"; write [{value_text(condition)}] for the list" if is_list else ""


def was_taken(domain: Domain, condition: Any) -> bool:
    """Whether it is a condition of exact values of a float, which earlier versions took."""
    return isinstance(domain, Float) and all(value in domain for value in as_list(condition))


def _is_ever(domain: Domain, condition: Mapping[str, Any]) -> bool:
    if domain.size is not None:
        return Axis.of(domain).meets(condition)
    assert isinstance(domain, Float | Normal | LogNormal)
    low, high = domain.ends
    # Of a continuum a single value, its end too, is never drawn.
    return bool(max(low, condition.get("min", low)) < min(high, condition.get("max", high)))
