"""The forms in which an early-stop rule may be written, each as the one that is asked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from dotrain.core.trial import Trial

#: The name of a first argument that is to be one trial.
_ONE = "trial"


def in_full(rule: Any) -> Any:
    """Return a class's ``earlystop_check`` as a method, or a static one, that takes all trials to check.

    Args:
        rule: As the class has it; what is no function is left to the check of its interface.
    """
    function = rule.__func__ if isinstance(rule, staticmethod) else rule
    if not inspect.isfunction(function):
        return rule
    # The deck writes the rule as a function without `self`.
    is_static = function is not rule or _is_without_self(function)
    if [*inspect.signature(function).parameters][not is_static :][:1] == [_ONE]:
        function = _of_one(function, is_static=is_static)
    return staticmethod(function) if is_static else function


def _is_without_self(function: Callable[..., Any]) -> bool:
    signature = inspect.signature(function)
    try:
        signature.bind("to_check", "finalized_trials", "direction")
    except TypeError:
        return False
    return next(iter(signature.parameters)) != "self"


def _of_one(function: Callable[..., Any], *, is_static: bool) -> Callable[..., Any]:
    def asked(
        own: Sequence[Any],
        to_check: Mapping[str, Trial],
        finalized: Sequence[Trial],
        direction: str,
    ) -> dict[str, str]:
        answers = (
            (i, one, function(*own, one, finalized, direction)) for i, one in to_check.items()
        )
        return {i: _reason(one, answer) for i, one, answer in answers if answer}

    def static(to_check: Any, finalized_trials: Any, direction: Any) -> dict[str, str]:
        return asked((), to_check, finalized_trials, direction)

    def method(self: Any, to_check: Any, finalized_trials: Any, direction: Any) -> dict[str, str]:
        return asked((self,), to_check, finalized_trials, direction)

    made = static if is_static else method
    vars(made)["__wrapped__"] = function  # whose file and line errors are to name
    return made


def _reason(trial: Trial, answer: Any) -> str:
    """Return why a trial is to stop, ``""`` if a rule hasn't said."""
    if isinstance(answer, str):
        return answer if answer != trial.trial_id else ""
    if answer is not trial and isinstance(answer, Trial | Collection):
        raise TypeError(f"expected True, the reason as text, or None, got {answer!r}")
    return ""
