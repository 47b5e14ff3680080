"""What a model starts from: its layers by name, copies of them, their first weights.

A qualified name says where a layer is: ``block/dense_1`` is `dense_1` in the nested model `block`.
"""

from __future__ import annotations

import contextlib
import copy
import difflib
import functools
import random
import re
import tempfile
import types
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from dotrain.errors import UsageError

#: What shows a function given as an argument of a layer, as opposed to an object with a config.
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, functools.partial, np.ufunc)

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


def _leaves(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the layers that hold weights themselves, each once, by its first name."""
    if not model.built:
        raise SurgeryError(
            f"'{model.name}' isn't built, so that it has no weights yet; start it with "
            "keras.Input(...), or call it on a batch"
        )
    seen: set[int] = set()
    for name, layer in _parts(model):
        if id(layer) not in seen:
            seen.add(id(layer))
            yield name, layer


def _parts(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    # Not by `walk`: a variant may be a subclassed model, which has layers but no graph.
    for layer in model.layers:
        if graph_of(layer) is None:
            yield path + layer.name, layer
        else:
            yield from _parts(layer, f"{path}{layer.name}/")


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


def copy_layer(layer: Any) -> Any:
    """Return an unbuilt layer with the same arguments, and none of its weights.

    Args:
        layer: A layer, or an operation such as the one behind ``x + y``.

    Raises:
        SurgeryError: If the layer's config doesn't suffice.
    """
    import keras

    if not isinstance(layer, keras.Layer):
        # An operation has no weights, and often no usable config; only its place in the graph.
        operation = copy.copy(layer)
        operation._inbound_nodes, operation._outbound_nodes = [], []
        return operation
    try:
        with warnings.catch_warnings():
            # Keras warns of lambdas in configs that are stored; this one isn't.
            warnings.simplefilter("ignore", UserWarning)
            config = _unbuilt(layer.get_config())
        with keras.saving.custom_object_scope(custom_objects(layer)):
            new = _from_config(layer, config)
        if hasattr(layer, "save_assets") and hasattr(new, "load_assets"):
            _copy_vocabulary(layer, new)
        return new
    except SurgeryError:
        raise
    except Exception as error:
        raise SurgeryError(
            f"layer '{layer.name}' ({type(layer).__name__}) can't be copied: {reason(error)}; give "
            "it a get_config() that returns all its arguments, or write variants under `models:`"
        ) from error


def _from_config(layer: Any, config: dict[str, Any]) -> Any:
    """Make a layer, out of the very functions and copies of the very layers where possible.

    Keras finds classes and functions by name, not always the same ones, and refuses lambdas.
    """
    import keras

    cls = type(layer)
    live = dict(config)
    for name, value in config.items():
        part = None
        with contextlib.suppress(Exception):
            part = getattr(layer, "_output_shape" if _is_lambdas(layer, name) else name)
        if isinstance(value, dict) and isinstance(part, keras.Layer):
            live[name] = copy_layer(part)
        elif (
            isinstance(value, list)
            and isinstance(part, list | tuple)
            and part
            and all(isinstance(p, keras.Layer) for p in part)
        ):
            live[name] = [copy_layer(p) for p in part]
        elif isinstance(value, dict | str) and isinstance(part, _FUNCTIONS):
            live[name] = part
    changed = any(live[name] is not config[name] for name in config)
    if changed or not overrides_from_config(cls):
        try:
            # Keras' own, below what the class makes of it: a class's own expects to decode parts.
            return keras.Operation.from_config.__func__(cls, live)
        except Exception:
            if not overrides_from_config(cls):
                raise
    return cls.from_config(config)


def _copy_vocabulary(old: Any, new: Any) -> None:
    """Copy what a layer has learnt from `adapt`; the shape of its output may depend on it."""
    with tempfile.TemporaryDirectory() as folder:
        old.save_assets(folder)
        new.load_assets(folder)
    if not old.weights:
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        new.load_own_variables(store)


def _is_lambdas(layer: Any, name: str) -> bool:
    import keras

    return isinstance(layer, keras.layers.Lambda) and name == "output_shape"


def overrides_from_config(cls: Any) -> bool:
    """Whether a class has a `from_config` other than every operation's.

    Args:
        cls: The class of a layer.
    """
    import keras

    return bool(cls.from_config.__func__ is not keras.Operation.from_config.__func__)


def _unbuilt(config: Any) -> Any:
    """Return a config by which no layer inside is built, which would be for the old shapes."""
    if isinstance(config, dict):
        skipped = {"build_config"} if "class_name" in config else set()
        return {key: _unbuilt(value) for key, value in config.items() if key not in skipped}
    if type(config) in (list, tuple):
        return type(config)(_unbuilt(value) for value in config)
    return config


def custom_objects(*things: Any) -> dict[str, Any]:
    """Return what Keras may have to look up when it makes copies: classes and functions by name.

    Args:
        things: Layers, metrics, optimizers.
    """
    import keras

    found: dict[str, Any] = {}
    parts: list[Any] = []
    for thing in things:
        inside = thing._flatten_layers() if isinstance(thing, keras.Layer) else [thing]
        for part in inside:
            parts.append(part)
            parts.extend(vars(part).values())
    for part in parts:
        if isinstance(part, types.FunctionType) and not part.__module__.startswith("keras."):
            found[part.__name__] = part
        elif not is_keras(type(part)) and hasattr(type(part), "get_config"):
            found[type(part).__name__] = type(part)
            found[keras.saving.get_registered_name(type(part))] = type(part)
    return found


def copy_state(old: Any, new: Any) -> bool:
    """Copy a layer's weights, states of random generators and vocabularies, if all shapes agree.

    Args:
        old: The layer.
        new: A copy of it, called on something.

    Returns:
        Whether they agreed; if not, `new` keeps everything.
    """
    if shapes(old) != shapes(new):
        return False
    for mine, theirs in zip(new.variables, old.variables, strict=True):
        mine.assign(theirs.numpy())
    for layer in new._flatten_layers():
        # What was adapted to data may be kept beside the variables, made of them.
        if hasattr(layer, "finalize_state") and not hasattr(layer, "load_assets"):
            layer.finalize_state()
    return True


def copy_trainable(old: Any, new: Any) -> None:
    """Give a layer, and what is inside of it, the original's flags `trainable`.

    Args:
        old: The original.
        new: Its copy.
    """
    # A layer's flag sets those of the layers inside, which come after it here.
    pairs = zip(old._flatten_layers(), new._flatten_layers(), strict=False)
    for theirs, mine in pairs if graph_of(old) is None else [(old, new)]:
        if mine.trainable != theirs.trainable:
            mine.trainable = theirs.trainable


def shapes(layer: Any) -> list[tuple[int, ...]]:
    """Return the shapes of all variables of a layer.

    Args:
        layer: A built layer.
    """
    return [tuple(v.shape) for v in layer.variables]


@contextmanager
def own_randomness() -> Iterator[None]:
    """Draw random numbers beside the global generators, from a seed that is theirs.

    What is drawn in the block depends on the global seed; what is drawn after it is what would have
    been drawn without it. So a baseline and its arms see the same order of data.
    """
    before = random.getstate(), np.random.get_state()
    seed = random.getrandbits(32)
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def reason(error: BaseException) -> str:
    """Return an error of Keras in one line, without its frame.

    Args:
        error: What was raised.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).partition("Arguments received by")[0]
    text = text.rpartition("Error encountered:")[2].rpartition("Exception encountered: ")[2]
    lines: Iterable[str] = (line.strip() for line in text.splitlines())
    said = [s for s in lines if s and not s.startswith("Exception encountered when calling")]
    line = said[0] if said else type(error).__name__
    return (line if len(line) <= 240 else f"{line[:237]}...").rstrip(".")
