"""TensorFlow, as the rest of dotrain sees it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

from dotrain.frameworks.tensorflow.data import TensorFlowData


@final
class TensorFlow(TensorFlowData):
    """TensorFlow, with Keras at its side, which it imports when somebody asks for it."""

    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras")
    distributions: ClassVar[tuple[str, ...]] = ("tensorflow",)
    requirement: ClassVar[str] = "dotrain[tensorflow]"

    def threads(self, count: int) -> Mapping[str, str]:
        """Limit the pools within an operation, and of operations."""
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
        return dict.fromkeys(names, str(count))

    def environment(self) -> Mapping[str, str]:
        """Leave out what it says of itself when it is imported."""
        return {"TF_CPP_MIN_LOG_LEVEL": "1"}

    def seed(self, seed: int) -> None:
        """Seed the global generator."""
        import tensorflow as tf

        tf.random.set_seed(seed)

    def scope(self) -> Any:
        """Return the default strategy."""
        import tensorflow as tf

        return tf.distribute.get_strategy()
