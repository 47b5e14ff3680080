"""The layers of a model by name.

A qualified name says where a layer is: ``block/dense_1`` is `dense_1` in the nested model `block`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from dotrain.errors import UsageError

#: How many names an error lists.
_SHOWN = 20


class SurgeryError(UsageError):
    """A layer can't be left out: mend the names, or write the model without it."""


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


def layers_matching(model: Any, *, prefix: str | None, pattern: str | None) -> list[str]:
    """Return the qualified names of the layers that match, in the model's order.

    What lies inside a nested model that matches itself isn't listed: it goes with that model.

    Args:
        model: A built Sequential or a functional model.
        prefix: What a layer's name, or its qualified name, starts with; None for any.
        pattern: As in a shell, with ``*``, ``?`` and ``[...]``, for a layer's name or its
            qualified name; None for any.

    Raises:
        SurgeryError: If none matches, or the model has no graph to look into.
    """
    known = layer_names(model)
    found: list[str] = []
    for name in known:
        forms = (name, name.rpartition("/")[2])
        starts = any(form.startswith(prefix or "") for form in forms)
        matches = pattern is None or any(fnmatchcase(form, pattern) for form in forms)
        if starts and matches and not any(name.startswith(f"{outer}/") for outer in found):
            found.append(name)
    if not found:
        wanted = [
            *([f"starts with '{prefix}'"] if prefix is not None else []),
            *([f"matches '{pattern}'"] if pattern is not None else []),
        ]
        hint = name_hint(prefix or pattern or "", known)
        raise SurgeryError(f"no layer's name {' and '.join(wanted)}{hint}")
    return found


def name_hint(word: str, known: list[str]) -> str:
    """Return a hint for a misspelt name or the misspelt beginning of one.

    Like `did_you_mean`, which doesn't know beginnings and lists however many names there are.

    Args:
        word: What was asked for.
        known: Qualified names.

    Returns:
        A clause that starts with ``"; "``.
    """
    plain = known if "/" in word else [*known, *(name.rpartition("/")[2] for name in known)]
    for near in (
        {name: name for name in plain},
        {name[: len(word)]: name for name in reversed(plain)},
    ):
        close = difflib.get_close_matches(word, list(near), n=1, cutoff=0.6)
        if close:
            return f"; did you mean '{near[close[0]]}'?"
    shown = ", ".join(known[:_SHOWN])
    return f"; known: {shown}" + (f", ... ({len(known)} in all)" if len(known) > _SHOWN else "")


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
        model: A built Sequential or a functional model.
        path: The qualified name of `model` and a slash.

    Raises:
        SurgeryError: If the model has no graph to walk through.
    """
    import keras

    graph = graph_of(model)
    if graph is None:
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
