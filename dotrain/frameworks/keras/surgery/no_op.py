"""Layers that do nothing, so that leaving them out would change nothing."""

from __future__ import annotations

from typing import Any

from dotrain.frameworks.keras.surgery.names import is_keras


def no_op_reason(layer: Any) -> str | None:
    """Return why leaving a layer out would change nothing, or None if it would.

    Args:
        layer: A layer of a built model.
    """
    import keras

    kind = type(layer).__name__
    if not is_keras(type(layer)) or getattr(layer, "activity_regularizer", None) is not None:
        return None
    if kind == "Identity":
        return "it returns its input"
    if kind == "Activation" and layer.activation is keras.activations.linear:
        return "its activation is linear"
    if kind.endswith(("Dropout", "Dropout1D", "Dropout2D", "Dropout3D")) and not layer.rate:
        return "its rate is 0"
    if kind == "GaussianNoise" and not layer.stddev:
        return "its stddev is 0"
    if kind == "Rescaling" and _all_equal(layer.scale, 1) and _all_equal(layer.offset, 0):
        return "its scale is 1 and its offset 0"
    if kind == "Permute" and list(layer.dims) == sorted(layer.dims):
        return "it permutes nothing"
    if kind.startswith("ZeroPadding") and _all_equal(layer.padding, 0):
        return "its padding is 0"
    if kind.startswith("Cropping") and _all_equal(layer.cropping, 0):
        return "it crops nothing"
    if kind.startswith("UpSampling") and _all_equal(layer.size, 1):
        return "its size is 1"
    if kind.startswith(("MaxPooling", "AveragePooling")) and _all_equal(
        [layer.pool_size, layer.strides], 1
    ):
        return "its pool size and strides are 1"
    if kind in ("Flatten", "Reshape") and _keeps_shape(layer):
        return "its output has its input's shape"
    return None


def _all_equal(value: Any, to: int) -> bool:
    if isinstance(value, list | tuple):
        return all(_all_equal(part, to) for part in value)
    return isinstance(value, int | float) and value == to


def _keeps_shape(layer: Any) -> bool:
    calls = [(node.input_tensors, node.output_tensors) for node in layer._inbound_nodes]
    return bool(calls) and all(
        ins[0].shape == outs[0].shape and list(outs[0].shape[1:]).count(None) < 2
        for ins, outs in calls
    )
