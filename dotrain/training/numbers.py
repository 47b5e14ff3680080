"""Telling numbers from everything else that users report and return."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dotrain.training.failure import plain_text


def as_number(value: Any) -> float | None:
    """Return `value` as a float, or None if it is no single number.

    Python, NumPy and TensorFlow scalars are numbers, NaN and infinity included; booleans, text,
    and arrays of more than one element are not.
    """
    if type(value) is float:
        return value
    if isinstance(value, bool | str | bytes | complex) or not hasattr(value, "__float__"):
        return None
    if getattr(value, "shape", ()) not in ((), (1,)) or str(getattr(value, "dtype", "")) == "bool":
        return None
    if getattr(value, "shape", ()) == (1,):
        value = value[0]
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def split_metrics(
    value: Any, metric: str, what: str
) -> tuple[float, dict[str, float] | None, str | None]:
    """Split a report or a result into the metric and the other numbers.

    Args:
        value: A number, or a dict of numbers that holds `metric`.
        metric: The config's metric.
        what: ``reported`` or ``returned``, for the message.

    Returns:
        (the metric's value, the other finite numbers or None, what is wrong or None).
    """
    others: dict[str, float] | None = None
    chosen = value
    if isinstance(value, Mapping):
        if metric not in value:
            held = ", ".join(map(str, value)) or "nothing"
            return math.nan, None, f"{what} a dict without '{metric}'; it holds {held}"
        chosen = value[metric]
        numbers = {plain_text(str(k)): as_number(v) for k, v in value.items() if k != metric}
        others = {k: v for k, v in numbers.items() if v is not None and math.isfinite(v)}
    number = as_number(chosen)
    expected = f"expected a number, or a dict that holds '{metric}'"
    if number is None:
        shown = "None" if chosen is None else f"{_short(chosen)} ({type(chosen).__name__})"
        return math.nan, None, f"{what} {shown}; {expected}"
    if not math.isfinite(number):
        return number, None, f"{what} {number}; expected a finite number"
    return number, others or None, None


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"something whose repr raises {type(error).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
