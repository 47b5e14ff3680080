"""The user's own functions in a simulation: the learning curve, and how long a step takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from dotrain.core.failure import Failure
from dotrain.training.errors import BadResult
from dotrain.training.failure import describe_bad_result, describe_failure
from dotrain.training.numbers import as_number
from dotrain.training.program import Program
from dotrain.usercode import home
from dotrain.usercode.function import FunctionRef
from dotrain.usercode.load import load_function, take_in

#: What such a function may ask for, by name.
ASKED_FOR = ("params", "step", "seed")


class NotModelled(Exception):
    """A function of the user's that gave no number.

    Attributes:
        failure: Why, as of a train function.
    """

    def __init__(self, failure: Failure) -> None:
        """Carry a failure."""
        super().__init__(failure.message)
        self.failure = failure


def load_functions(
    references: Mapping[str, FunctionRef], program: Program
) -> dict[str, Callable[..., float]]:
    """Import the user's functions; one that can't be had fails when it is called.

    Args:
        references: The functions, by the option that names each.
        program: What attempts run; it has the user's code.

    Returns:
        What takes all of `ASKED_FOR` in this order, and returns a number, or raises `NotModelled`.
    """
    home.begin(program.folder)
    moved = take_in(program.functions.code, program.functions.path)
    loaded: dict[str, Callable[..., float]] = {}
    for key, reference in references.items():
        try:
            loaded[key] = _guarded(key, load_function(reference, moved))
        except Exception as error:
            loaded[key] = _failing(describe_failure(error))
    return loaded


def _failing(failure: Failure) -> Callable[..., float]:
    def fail(*_: Any) -> float:
        raise NotModelled(failure)

    return fail


def _guarded(key: str, function: Callable[..., Any]) -> Callable[..., float]:
    asked = _asked(function)

    def call(params: Mapping[str, Any], *others: int) -> float:
        # A copy: what the function does with it is nobody else's.
        given = dict(zip(ASKED_FOR, (dict(params), *others), strict=True))
        try:
            returned = function(**{name: given[name] for name in asked})
            number = as_number(returned)
        except Exception as error:
            raise NotModelled(describe_failure(error)) from None
        if number is None or (key == "duration" and not 0 <= number < math.inf):
            expected = "seconds, 0 or more" if key == "duration" else "a number"
            message = f"{key} returned {returned!r}, expected {expected}"
            raise NotModelled(describe_bad_result(message, function)) from BadResult(message)
        return number

    return call


def _asked(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return which names a function is to be given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return ASKED_FOR
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return ASKED_FOR
    return tuple(one.name for one in parameters if one.name in ASKED_FOR)
