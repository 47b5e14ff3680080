"""Synchronous data-parallel training over the devices of one machine."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge

from dotrain.core.strategy import AbstractStrategy, Seat
from dotrain.frameworks.tensorflow.distributed import by_rows, distributed, require_backend
from dotrain.training.errors import BadSetup


class Mirrored(AbstractStrategy):
    """Train one model on several devices of one worker, each with its share of every batch.

    TensorFlow's ``MirroredStrategy``.
    """

    packages = ("tensorflow", "keras")

    def __init__(self, workers: Annotated[int | None, Ge(1)] = None, exact: bool = True) -> None:
        """Make the strategy.

        Args:
            workers: How many devices; by default all GPUs, or one CPU. Without GPUs, the CPU is
                divided into so many logical devices.
            exact: Compute what one device with the same global batch would.
        """
        if workers is not None and workers < 1:
            raise ValueError(f"workers: expected a number >= 1, got {workers}")
        self.workers = workers
        self.exact = exact
        self._strategy: Any = None

    def begin(self, seat: Seat) -> None:
        """Divide the CPU, if there are no GPUs."""
        import tensorflow as tf

        require_backend("mirrored")
        cls = distributed(tf.distribute.MirroredStrategy)
        self._strategy = cls(devices=self._devices(tf))
        self._strategy.exact = self.exact

    def _devices(self, tf: Any) -> list[str]:
        gpus = tf.config.list_physical_devices("GPU")
        count = self.workers or max(1, len(gpus))
        if gpus and count > len(gpus):
            raise BadSetup(f"distribution.workers: {count} devices, but there are {len(gpus)} GPUs")
        if gpus:
            return [f"/gpu:{index}" for index in range(count)]
        (cpu, *_) = tf.config.list_physical_devices("CPU")
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * count
            )
        except RuntimeError:
            raise BadSetup(
                "the CPU can't be divided into logical devices any more, because TensorFlow runs "
                "in this process already; use cluster.kind: local"
            ) from None
        return [f"/cpu:{index}" for index in range(count)]

    def open(self) -> Any:
        """Return the strategy, which is its own scope."""
        return self._strategy

    def shard(self, dataset: Any) -> Any:
        """Split by rows."""
        return by_rows(dataset)

    def check_use(self) -> None:
        """Refuse a function that has trained without the strategy."""
        if not self._strategy.used and self._strategy.num_replicas_in_sync > 1:
            raise BadSetup(
                "the train function has run nothing under its strategy, so one device has done "
                "all the work: build and compile the model inside `with dist_strategy():`"
            )
