"""Telling numbers from everything else that users report and return."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from dotrain.frameworks import registry
from dotrain.training.failure import plain_text

#: What the names of the types of numbers have in common, whatever the library: ``float32``,
#: ``bfloat16``, ``<dtype: 'half'>``. Text, booleans and complex numbers convert to a float too.
_REAL = re.compile("float|int|half|double|decimal", re.IGNORECASE)


#: Which number of a list is which, only the model knows that it comes from.
_NAMELESS = (
    ": which of these it is can't be told; where they are a model's evaluation, have it return a dict "
    "(return_dict=True), or evaluate last of all the model that model_gen.create() gave"
)


def as_number(value: Any) -> float | None:
    """Return `value` as a float, or None if it is no single number.

    Scalars of Python, NumPy and frameworks are numbers, NaN and infinity included; booleans, text,
    complex numbers, time spans, and arrays of more than one element are not.
    """
    if type(value) is float:
        return value
    try:
        # First whoever knows its values: a mere conversion may warn of what is meant here.
        told = (framework.number(value) for framework in registry.of_value(value))
        number = next((one for one in told if one is not None), None)
        return _converted(value) if number is None else number
    except Exception:  # the value's own conversion raises what it likes
        return None


def _converted(value: Any) -> float | None:
    if isinstance(value, bool | str | bytes | complex) or not hasattr(value, "__float__"):
        return None
    shape, dtype = getattr(value, "shape", ()), str(getattr(value, "dtype", "float"))
    if shape not in ((), (1,)):
        return None
    if dtype == "object":
        return as_number(value.item())
    if not _REAL.search(dtype):
        return None
    if shape == (1,):
        value = value[0]
    return float(value)


class Numbers(NamedTuple):
    """What a report or a result holds.

    Attributes:
        value: The metric; NaN or infinite if the training has diverged.
        others: The other finite numbers, or None.
        wrong: What is wrong with it, or None.
        left_out: Names of what else was in it and is no finite number.
        divergence: Which metric is a number and not a finite one, and what it is; ``""`` if none is.
    """

    value: float
    others: dict[str, float] | None = None
    wrong: str | None = None
    left_out: tuple[str, ...] = ()
    divergence: str = ""


def split_metrics(value: Any, metric: str, what: str, further: Collection[str] = ()) -> Numbers:
    """Split a report or a result into the metric and the other numbers.

    Args:
        value: A number, or a dict of numbers that holds `metric`.
        metric: The config's metric.
        what: ``reported`` or ``returned``, for the message.
        further: The other metrics, where there are several.
    """
    lost = ""
    others: dict[str, float] = {}
    left_out: tuple[str, ...] = ()
    chosen = value
    if isinstance(value, Mapping):
        if metric not in value:
            held = ", ".join(map(str, value)) or "nothing"
            wrong = f"{what} a dict without '{metric}'; it holds {held}"
            return Numbers(math.nan, wrong=wrong)
        chosen = value[metric]
        numbers = {plain_text(str(k)): as_number(v) for k, v in value.items() if k != metric}
        others = {k: v for k, v in numbers.items() if v is not None and math.isfinite(v)}
        left_out = tuple(name for name in numbers if name not in others)
        gone = (name for name in further if name in left_out and numbers[name] is not None)
        lost = next((f"{name} {numbers[name]}" for name in gone), "")
    number = as_number(chosen)
    expected = f"expected a number, or a dict that holds '{metric}'"
    if number is None:
        shown = "None" if chosen is None else f"{_short(chosen)} ({type(chosen).__name__})"
        return Numbers(math.nan, wrong=f"{what} {shown}; {expected}{_NAMELESS * _is_list(chosen)}")
    divergence = lost if math.isfinite(number) else f"{number}"
    return Numbers(number, others or None, None, left_out, divergence)


def _is_list(value: Any) -> bool:
    """Whether it is what models of some frameworks give for all their metrics."""
    return isinstance(value, list | tuple) and all(as_number(one) is not None for one in value)


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:
        text = f"something whose repr raises {type(error).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
