"""Graph surgery on Keras models: layers left out, and what a model starts from."""

from dotrain.ablation.surgery.changes import Change, Surgery
from dotrain.ablation.surgery.initial import inherit_weights, initial_weights
from dotrain.ablation.surgery.names import SurgeryError, layer_names, layers_matching
from dotrain.ablation.surgery.no_op import no_op_reason
from dotrain.ablation.surgery.surgeon import without_layers

__all__ = [
    "Change",
    "Surgery",
    "SurgeryError",
    "inherit_weights",
    "initial_weights",
    "layer_names",
    "layers_matching",
    "no_op_reason",
    "without_layers",
]
