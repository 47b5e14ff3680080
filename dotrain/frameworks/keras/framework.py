"""Keras, as the rest of dotrain sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

from dotrain.ablation.layers import Surgery
from dotrain.frameworks.tensorflow.data import TensorFlowData


@final
class Keras(TensorFlowData):
    """Keras 3, whatever its backend; the data it trains on are ``tf.data``'s."""

    packages: ClassVar[tuple[str, ...]] = ("keras",)
    distributions: ClassVar[tuple[str, ...]] = ("keras",)
    requirement: ClassVar[str] = "dotrain[tensorflow]"

    def reset(self) -> None:
        """Clear the global state: names of layers and memory depend on it."""
        import keras

        keras.backend.clear_session()

    def seed(self, seed: int) -> None:
        """Seed the backend's generators."""
        import keras

        keras.utils.set_random_seed(seed)

    def is_model(self, model: Any) -> bool:
        """Whether it has what is asked of a Keras model here."""
        return hasattr(model, "get_weights") and hasattr(model, "count_params")

    def layer_names(self, model: Any) -> Sequence[str]:
        """Return the names of a Sequential or functional model's layers."""
        from dotrain.frameworks.keras.surgery import layer_names

        return layer_names(model)

    def without_layers(self, model: Any, names: Sequence[str]) -> Surgery:
        """Build the model anew around its layers."""
        from dotrain.frameworks.keras.surgery import without_layers

        return without_layers(model, names)

    def inherit(self, original: Any, model: Any) -> None:
        """Hand the weights over, layer by layer."""
        from dotrain.frameworks.keras.surgery import inherit_weights, initial_weights

        inherit_weights(initial_weights(original), model)

    def parameters(self, model: Any) -> int | None:
        """Count a built model's parameters."""
        return int(model.count_params()) if getattr(model, "built", True) else None

    def same_graph(self, one: Any, other: Any) -> bool:
        """Compare the architectures, whatever the names of the layers."""
        from dotrain.frameworks.keras.graphs import architecture

        graph = architecture(one)
        return graph is not None and graph == architecture(other)
