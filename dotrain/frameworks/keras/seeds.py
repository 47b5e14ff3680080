"""Keras' generators: the global one, and those of a model's layers."""

from __future__ import annotations

import random
import sys
from typing import Any

#: Where Keras keeps its global generator, and the seed from which the next one is made.
_GENERATOR, _SEED = "global_seed_generator", "global_random_seed"


def seed_globally(seed: int) -> None:
    """Do what ``keras.utils.set_random_seed`` does; that would import TensorFlow where it is installed."""
    import keras
    import numpy as np

    if "tensorflow" in sys.modules:
        keras.utils.set_random_seed(seed)
        return
    _set_global(seed, None)
    random.seed(seed)
    np.random.seed(seed)
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(seed)


def global_generator() -> dict[str, Any]:
    """Return the state of the global generator, as JSON can hold it."""
    from keras.src.backend.common import global_state

    generator = global_state.get_global_attribute(_GENERATOR)
    state = None if generator is None else _numbers(generator.state)
    return {"seed": global_state.get_global_attribute(_SEED), "state": state}


def set_global_generator(state: dict[str, Any]) -> None:
    """Let the global generator go on from a state."""
    import keras

    generator = None
    if state["state"] is not None:
        generator = keras.random.SeedGenerator(seed=0)
        generator.state.assign(state["state"])
    _set_global(state["seed"], generator)


def _set_global(seed: int | None, generator: Any) -> None:
    from keras.src.backend.common import global_state

    global_state.set_global_attribute(_SEED, seed)
    global_state.set_global_attribute(_GENERATOR, generator)


def layers_generators(model: Any) -> list[list[int]]:
    """Return the states of a model's own generators, which ``save_weights`` leaves out."""
    return [_numbers(state) for state in _states(model)]


def set_layers_generators(model: Any, states: list[list[int]]) -> None:
    """Let a model's own generators go on from their states.

    Raises:
        ValueError: If the model has another number of them.
    """
    own = _states(model)
    if len(own) != len(states):
        raise ValueError(
            f"the checkpoint has the states of {len(states)} generators (of Dropout and such), the model has "
            f"{len(own)}: it isn't the model that was saved"
        )
    for variable, state in zip(own, states, strict=True):
        variable.assign(state)


def _states(model: Any) -> list[Any]:
    found = {id(v): v for v in model.variables if v.name.split(":")[0] == "seed_generator_state"}
    return list(found.values())


def _numbers(state: Any) -> list[int]:
    import keras

    return [int(number) for number in keras.ops.convert_to_numpy(state)]
