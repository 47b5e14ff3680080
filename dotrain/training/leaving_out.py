"""What an arm's model has in common with the baseline's, and what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from dotrain.ablation.components import LayerComponent, Variant
from dotrain.ablation.layers import Surgery, SurgeryError
from dotrain.frameworks import registry
from dotrain.frameworks.base import AbstractFramework

#: The states of generators, by framework.
States = Sequence[tuple[AbstractFramework, Any]]


def states_before(variant: Variant) -> States:
    """Return the states of all generators before a model is built for a variant.

    None are needed where it is built for the columns and hyperparameters of the baseline.
    """
    if not variant.columns_differ and not variant.hparams:
        return ()
    return [(one, one.random_state()) for one in registry.loaded()]


def begin_alike(model: Any, before: States, build: Callable[[], Any]) -> None:
    """Give a model the weights that the baseline's begins with, where its layers have the same shapes.

    A framework that draws them one after the other begins otherwise: other columns make the first layer
    draw more numbers or fewer, and all layers behind it others.

    Args:
        model: Of a variant; it is changed.
        before: From `states_before`.
        build: Builds the baseline's.
    """
    framework = registry.of_model(model)
    if not framework.draws_in_order:
        return
    for one, state in before:
        if state is not None:
            one.set_random_state(state)
    with suppress(SurgeryError):  # it has no weights yet
        framework.inherit(build(), model)


def operate(
    model: Any,
    components: Iterable[LayerComponent],
    first_rows: Callable[[], Any] | None = None,
) -> Surgery:
    """Leave the layers of several components out of a model together.

    Args:
        model: The model.
        components: Which layers.
        first_rows: As of `AbstractFramework.without_layers`.

    Raises:
        UsageError: If one names no layer, or they can't be left out.
    """
    framework = registry.of_model(model)
    known = framework.layer_names(model)
    names = [n for one in components for n in one.layers_in(known, framework.separator)]
    return framework.without_layers(model, names, first_rows)
