"""Arguments by name: a function gets what it asks for and nothing else."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dotrain.errors import did_you_mean
from dotrain.training.errors import BadSetup


def bind(
    function: Callable[..., Any],
    available: Mapping[str, Any],
    hparams: Mapping[str, Any],
    given: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Choose the keyword arguments for a call of a user's function.

    Args:
        function: The user's function.
        available: What it may ask for by name.
        hparams: Hyperparameters; it may ask for them by name, and gets all with ``**kwargs``.
        given: Arguments the caller passes in any case; they win over the rest.

    Raises:
        BadSetup: If the function asks for something nobody provides, or only by position.
    """
    given = dict(given or {})
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return given
    offered = {**available, **hparams, **given}
    arguments = dict(given)
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments = {**hparams, **arguments}
        elif parameter.kind is parameter.VAR_POSITIONAL:
            continue
        elif parameter.name in offered and parameter.kind is not parameter.POSITIONAL_ONLY:
            arguments[parameter.name] = offered[parameter.name]
        elif parameter.default is parameter.empty:
            name = getattr(function, "__name__", str(function))
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise BadSetup(f"{name}() takes '{parameter.name}' by position only; remove the /")
            hint = did_you_mean(parameter.name, sorted(offered))
            raise BadSetup(f"{name}() asks for '{parameter.name}', which nobody provides{hint}")
    return arguments
