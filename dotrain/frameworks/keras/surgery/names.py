"""The layers of a model by name.

A qualified name says where a layer is: ``block/dense_1`` is `dense_1` in the nested model `block`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.keras.surgery.unbuilt import is_unbuilt


def layer_names(model: Any) -> list[str]:
    """Return the qualified names of all layers that can be asked for, in the model's order.

    A layer that is found in several places has the name of its first place.

    Args:
        model: A built Sequential or a functional model.

    Raises:
        SurgeryError: If the model has no graph to look into.
    """
    import keras

    found: dict[int, str] = {}
    for name, layer in walk(model):
        if isinstance(layer, keras.Layer) and not isinstance(layer, keras.layers.InputLayer):
            found.setdefault(id(layer), name)
    return list(found.values())


def parts(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the layers of a model that are no models, with their qualified names."""
    # Not by `walk`: a variant may be a subclassed model, which has layers but no graph.
    for layer in model.layers:
        if graph_of(layer) is None:
            yield path + layer.name, layer
        else:
            yield from parts(layer, f"{path}{layer.name}/")


def graph_of(model: Any) -> Any | None:
    """Return the functional model that `model` runs, or None if only its code knows what it does.

    Args:
        model: Any object.
    """
    import keras

    if isinstance(model, keras.Sequential):
        graph = getattr(model, "_functional", None)
    else:
        graph = model if isinstance(model, keras.Model) and isinstance(model, keras.Function) else 0
    return graph if graph and not overrides(model, "call") else None


def walk(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the qualified name of every operation and the operation, nested models' too.

    Args:
        model: A Sequential or a functional model.
        path: The qualified name of `model` and a slash.

    Raises:
        SurgeryError: If the model has no graph to walk through.
    """
    import keras

    graph = graph_of(model)
    if graph is None:
        if is_unbuilt(model):
            yield from ((path + layer.name, layer) for layer in model.layers)
            return
        kind = type(model).__name__
        if not isinstance(model, keras.Model):
            raise SurgeryError(f"layers are left out of Keras models; got a {kind}")
        if isinstance(model, keras.Sequential) and not overrides(model, "call"):
            raise SurgeryError(
                f"the Sequential '{model.name}' isn't built, or a layer of it can't tell the shape of "
                "its output; start the model with keras.Input(...), or call its build(...), and give "
                "layers of your own a compute_output_shape"
            )
        raise SurgeryError(
            f"{kind} is a subclassed model: it calls its layers in code, which can't be rewritten; "
            "turn its parts off by arguments under `components:`, or write variants under `models:`"
        )
    for operation in graph.operations:
        yield path + operation.name, operation
        if graph_of(operation) is not None:
            yield from walk(operation, f"{path}{operation.name}/")


def overrides(thing: Any, method: str) -> bool:
    """Whether a method of a Keras object is the user's own and not Keras'.

    Args:
        thing: The object.
        method: Its name.
    """
    owner = next((c for c in type(thing).__mro__ if method in vars(c)), None)
    return owner is not None and not is_keras(owner)


def is_keras(cls: type[Any]) -> bool:
    """Whether a class is Keras' own.

    Args:
        cls: The class.
    """
    return f"{cls.__module__}.".startswith("keras.")
