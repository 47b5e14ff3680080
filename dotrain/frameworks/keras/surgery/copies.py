"""Copies of layers: the same config, state and randomness, nothing shared."""

from __future__ import annotations

import contextlib
import copy
import functools
import random
import re
import tempfile
import types
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.keras.surgery.names import graph_of, is_keras

#: What shows a function given as an argument of a layer, as opposed to an object with a config.
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, functools.partial, np.ufunc)


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
