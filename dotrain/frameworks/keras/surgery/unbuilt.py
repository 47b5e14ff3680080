"""A Sequential that gets its shapes from the first batch: its layers are known, but no graph of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dotrain.ablation.layers import Surgery, SurgeryError


def is_unbuilt(model: Any) -> bool:
    """Whether it is a plain Sequential of plain layers that is neither built nor compiled yet."""
    import keras

    if type(model) is not keras.Sequential or model.built or model.compiled:
        return False
    return not any(isinstance(layer, keras.Model) for layer in model.layers)


def without_unbuilt(model: Any, removed: Sequence[Any]) -> Surgery:
    """Return one of the layers that are left, which are the model's own: what they begin with is drawn from their seeds.

    Shapes aren't known yet, so nothing is told of what changes; what doesn't fit fails when the first batch comes.

    Args:
        model: As of `is_unbuilt`.
        removed: Which of its layers are left out.

    Raises:
        SurgeryError: If what comes out of it would come from another layer.
    """
    import keras

    left = [layer for layer in model.layers if not any(layer is one for one in removed)]
    if not left or left[-1] is not model.layers[-1]:
        raise SurgeryError(
            f"the Sequential '{model.name}' isn't built, and without its last layer '{model.layers[-1].name}' its "
            "output would have an unknown shape; start the model with keras.Input(...)"
        )
    new = keras.Sequential(left, name=model.name)
    return Surgery(new, tuple(layer.name for layer in removed), (), 0)
