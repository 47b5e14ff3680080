"""The class and the compilation of a new model: those of the original."""

from __future__ import annotations

import inspect
from typing import Any

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.keras.surgery.copies import custom_objects, reason
from dotrain.frameworks.keras.surgery.names import is_keras, overrides
from dotrain.frameworks.keras.surgery.words import VARIANT


def like(model: Any, base: Any) -> Any:
    """Return the class for a model in place of `model`: the same, if it can be called as `base`.

    Args:
        model: The original.
        base: ``keras.Sequential`` or ``keras.Model``.

    Raises:
        SurgeryError: If the class builds its own layers, and trains or runs in its own way.
    """
    cls = type(model)
    if is_keras(cls):
        return base
    parameters = list(inspect.signature(cls.__init__).parameters.values())
    kinds = {parameter.kind for parameter in parameters}
    names = [parameter.name for parameter in parameters[1:4]]
    if {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds or names in (
        ["inputs", "outputs", "name"],
        ["layers", "trainable", "name"],
    ):
        return cls
    own = {
        name
        for c in cls.__mro__
        if not is_keras(c) and c not in base.__mro__  # which a backend's classes may be in
        for name, value in vars(c).items()
        if not name.startswith("__") and (callable(value) or isinstance(value, property))
    } - {"get_config", "from_config", "build"}
    inherited = sorted(name for name in own if hasattr(base, name))
    if inherited:
        raise SurgeryError(
            f"'{model.name}' can't be built anew: its class {cls.__name__} makes its layers itself "
            f"and has its own {', '.join(inherited)}; let its __init__ take (*args, **kwargs) for "
            f"keras.Model, turn its parts off by arguments under `components:`, or {VARIANT}"
        )
    return base


def compile_alike(old: Any, new: Any) -> None:
    """Compile a model as another one was, sharing nothing that has a state.

    Keras' own way, through JSON, fails for functions and classes that it can't find by name.
    """
    if not old.compiled:
        return
    if overrides(new, "compile"):
        if not overrides(new, "compile_from_config"):
            raise SurgeryError(
                f"class {type(new).__name__} has its own compile() but no compile_from_config(); "
                "add that, or compile the model after the surgery"
            )
        new.compile_from_config(old.get_compile_config())
        return
    config = dict(old._compile_config.config)
    if config.get("optimizer") is not None:
        # Not as it was given to compile(): its learning rate may have been set since.
        config["optimizer"] = _anew(old.optimizer)
    for part in ("metrics", "weighted_metrics"):
        config[part] = _anew(config.get(part))
    # The optimizer is wrapped for mixed precision already, if it is to be.
    new.compile(**config, auto_scale_loss=False)
    if new.optimizer is not None:
        new.optimizer.build(new.trainable_variables)


def _anew(thing: Any) -> Any:
    """Return an optimizer or metrics without their state; names and functions as they are."""
    import keras

    if isinstance(thing, dict):
        return {key: _anew(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_anew(value) for value in thing]
    if not isinstance(thing, keras.Metric | keras.Optimizer):
        return thing
    try:
        with keras.saving.custom_object_scope(custom_objects(thing)):
            return type(thing).from_config(thing.get_config())
    except Exception as error:
        raise SurgeryError(
            f"the model is compiled with a {type(thing).__name__} that can't be copied: "
            f"{reason(error)}; compile the model after the surgery"
        ) from error
