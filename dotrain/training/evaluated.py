"""What a model's own evaluation has returned as a list: which number is which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dotrain.frameworks import registry
from dotrain.training.numbers import as_number


def with_names(returned: Any, models: Iterable[Any]) -> Any:
    """Return the numbers of an evaluation by their names, where they are known for sure; else what is given.

    Args:
        returned: What a train function has returned.
        models: The models that it may have evaluated; None is none.
    """
    if not isinstance(returned, list | tuple):
        return returned
    numbers = [number for one in returned if (number := as_number(one)) is not None]
    if len(numbers) < max(2, len(returned)):
        return returned
    for model in models:
        if model is not None:
            found = registry.of_model(model).evaluated(model, numbers)
            if found is not None:
                return found
    return returned
