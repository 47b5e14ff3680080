"""Keras, as the rest of dotrain sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

from dotrain.ablation.layers import Surgery
from dotrain.frameworks.none import are_arrays
from dotrain.frameworks.rows import Rows
from dotrain.frameworks.tensorflow.data import TensorFlowData


@final
class Keras(TensorFlowData):
    """Keras 3, whatever its backend: on TensorFlow it trains on ``tf.data``, else on a ``PyDataset``."""

    #: It computes with one of the others, and takes all of their data.
    precedence: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("keras",)
    distributions: ClassVar[tuple[str, ...]] = ("keras",)
    requirement: ClassVar[str] = "dotrain[tensorflow]"

    def reset(self) -> None:
        """Clear the global state: names of layers and memory depend on it."""
        import keras

        keras.backend.clear_session()

    def seed(self, seed: int) -> None:
        """Seed the backend's generators."""
        from dotrain.frameworks.keras.seeds import seed_globally

        seed_globally(seed)

    def random_state(self) -> Any:
        """Return the state of the global generator."""
        from dotrain.frameworks.keras.seeds import global_generator

        return global_generator()

    def set_random_state(self, state: Any) -> None:
        """Set the state of the global generator."""
        from dotrain.frameworks.keras.seeds import set_global_generator

        set_global_generator(state)

    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        """Return batches in the backend's way; a ``tf.data.Dataset`` of rows stays one."""
        import keras

        own = are_arrays(data) or isinstance(data, Rows)
        if keras.backend.backend() == "tensorflow" or not own:
            return super().batches(data, size, seed, epoch)
        from dotrain.frameworks.keras.batches import KerasBatches

        return KerasBatches(data, size, seed, epoch)

    def is_model(self, model: Any) -> bool:
        """Whether it has what is asked of a Keras model here."""
        return hasattr(model, "get_weights") and hasattr(model, "count_params")

    def layer_names(self, model: Any) -> Sequence[str]:
        """Return the names of a Sequential or functional model's layers."""
        from dotrain.frameworks.keras.surgery import layer_names

        return layer_names(model)

    def without_layers(
        self, model: Any, names: Sequence[str], first_rows: Callable[[], Any] | None = None
    ) -> Surgery:
        """Build the model anew around its layers."""
        from dotrain.frameworks.keras.surgery import without_layers

        return without_layers(model, names)

    def inherit(self, original: Any, model: Any) -> None:
        """Hand the weights over, layer by layer."""
        from dotrain.frameworks.keras.surgery import (
            have_none_alike,
            inherit_weights,
            initial_weights,
        )

        if have_none_alike(original, model):
            return
        inherit_weights(initial_weights(original), model)

    def evaluated(self, model: Any, numbers: Sequence[float]) -> Mapping[str, float] | None:
        """Look whether they are the values of the model's metrics, as `evaluate` has left them."""
        if not getattr(model, "compiled", False):
            return None
        try:
            found = {name: float(value) for name, value in model.get_metrics_result().items()}
        except (TypeError, ValueError):  # a metric of the user's that has no single value
            return None
        # Equal ones may stand for each other; NaN is equal to nothing, but is written alike.
        alike = sorted(map(repr, found.values())) == sorted(map(repr, numbers))
        return found if alike else None

    def parameters(self, model: Any) -> int | None:
        """Count a built model's parameters."""
        return int(model.count_params()) if getattr(model, "built", True) else None

    def same_graph(self, one: Any, other: Any) -> bool:
        """Compare the architectures, whatever the names of the layers."""
        from dotrain.frameworks.keras.graphs import architecture

        graph = architecture(one)
        return graph is not None and graph == architecture(other)
