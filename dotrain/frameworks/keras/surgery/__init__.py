"""Graph surgery on Keras models: layers left out, and what a model starts from."""

from dotrain.frameworks.keras.surgery.initial import (
    have_none_alike,
    inherit_weights,
    initial_weights,
)
from dotrain.frameworks.keras.surgery.names import layer_names
from dotrain.frameworks.keras.surgery.no_op import no_op_reason
from dotrain.frameworks.keras.surgery.surgeon import without_layers

__all__ = [
    "have_none_alike",
    "inherit_weights",
    "initial_weights",
    "layer_names",
    "no_op_reason",
    "without_layers",
]
