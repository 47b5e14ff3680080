"""Layers left out of a PyTorch model, and what a model starts from."""

from dotrain.frameworks.torch.surgery.alike import inherit_weights, parameters, same_graph
from dotrain.frameworks.torch.surgery.names import layer_names
from dotrain.frameworks.torch.surgery.surgeon import without_layers

__all__ = ["inherit_weights", "layer_names", "parameters", "same_graph", "without_layers"]
