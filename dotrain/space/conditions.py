"""When a hyperparameter is part of a trial: what ``when:`` says of another one.

A condition is a value, a list of values, or a range: ``{min: 2}``, ``{max: 5}`` or both, the ends
included. A value that is a list or a mapping itself stands in a list of values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dotrain.space.values import (
    SpaceError,
    as_list,
    is_number,
    is_plain,
    plain_if_possible,
    same_value,
    value_text,
)

_RANGE = "a range such as {min: 2}, {max: 5} or {min: 2, max: 5}"


def plain_when(when: Any) -> Any:
    """Return conditions with plain values, and what is no mapping as it is."""
    if not isinstance(when, Mapping):
        return when
    return {other: _plain(condition) for other, condition in when.items()}


def _plain(condition: Any) -> Any:
    if isinstance(condition, Mapping):
        return {key: plain_if_possible(bound) for key, bound in condition.items()}
    return plain_if_possible(condition)


def check_when(when: Any) -> None:
    """Refuse conditions that can't be, whatever the other hyperparameters are.

    Raises:
        SpaceError: With what is wrong.
    """
    if not isinstance(when, Mapping):
        raise SpaceError(f"expected {{other: value}}, got {when!r}", "when")
    for other, condition in when.items():
        if isinstance(condition, Mapping):
            _check_range(other, condition)
        elif not as_list(condition):
            raise SpaceError(f"expected at least one value of '{other}'", "when")
        else:
            for value in as_list(condition):
                if not is_plain(value):
                    raise SpaceError(f"expected plain values of '{other}', got {value!r}", "when")


def _check_range(other: str, bounds: Mapping[str, Any]) -> None:
    if not bounds or set(bounds) - {"min", "max"}:
        shown = f"expected a value of '{other}', a list of values, or {_RANGE}"
        instead = f"; write [{value_text(bounds)}] for the mapping" if bounds else ""
        raise SpaceError(f"{shown}, got {dict(bounds)}{instead}", "when")
    for key, bound in bounds.items():
        if not is_number(bound) or math.isnan(bound):
            raise SpaceError(f"expected a number for {key} of '{other}', got {bound!r}", "when")
    if bounds.get("min", -math.inf) > bounds.get("max", math.inf):
        shown = f"min {bounds['min']} of '{other}' is over max {bounds['max']}"
        raise SpaceError(f"{shown}; swap them?", "when")


def is_met(condition: Any, value: Any) -> bool:
    """Whether a value meets a condition."""
    if isinstance(condition, Mapping):
        low, high = condition.get("min", -math.inf), condition.get("max", math.inf)
        return is_number(value) and low <= value <= high
    return any(same_value(value, one) for one in as_list(condition))


def condition_text(other: str, condition: Any) -> str:
    """Return a condition as people read it: ``C >= 2``, ``opt = sgd``."""
    if not isinstance(condition, Mapping):
        values = ", ".join(map(value_text, as_list(condition)))
        return f"{other} = {values}" if len(as_list(condition)) == 1 else f"{other} in [{values}]"
    low, high = condition.get("min"), condition.get("max")
    if low is None:
        return f"{other} <= {high}"
    return f"{other} >= {low}" if high is None else f"{low} <= {other} <= {high}"
