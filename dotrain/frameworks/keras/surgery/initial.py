"""What a model starts from: its first weights, by the names of its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.keras.surgery.names import parts


def initial_weights(model: Any) -> dict[str, list[np.ndarray[Any, Any]]]:
    """Return the weights of every layer that has some, by qualified name.

    Args:
        model: Any built model; of a subclassed one the layers that are its attributes.

    Raises:
        SurgeryError: If the model isn't built: it has no weights yet.
    """
    found: dict[str, list[np.ndarray[Any, Any]]] = {}
    for name, layer in _leaves(model):
        if layer.weights:
            found.setdefault(name, layer.get_weights())
    return found


def inherit_weights(
    donor_weights: Mapping[str, list[np.ndarray[Any, Any]]], model: Any
) -> list[str]:
    """Give the layers of `model` the weights of the donor's layers of the same names and shapes.

    Args:
        donor_weights: From `initial_weights` of the donor.
        model: Any built model; it is changed.

    Returns:
        The names of the layers which the donor has with other shapes; they keep their weights.

    Raises:
        SurgeryError: If the model isn't built.
    """
    differ = []
    for name, layer in _leaves(model):
        if not layer.weights or name not in donor_weights:
            continue
        donated = donor_weights[name]
        if [np.shape(w) for w in donated] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(donated)
        else:
            differ.append(name)
    return differ


def have_none_alike(one: Any, other: Any) -> bool:
    """Whether two models, of which one isn't built yet, have no layers of the same names: there is nothing to hand over."""
    if one.built and other.built:
        return False
    return {name for name, _ in parts(one)}.isdisjoint(name for name, _ in parts(other))


def _leaves(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers that hold weights themselves, each once, by its first name."""
    if not model.built:
        raise SurgeryError(
            f"'{model.name}' isn't built, so that it has no weights yet; start it with "
            "keras.Input(...), or call it on a batch"
        )
    seen: set[int] = set()
    for name, layer in parts(model):
        if id(layer) not in seen:
            seen.add(id(layer))
            yield name, layer
