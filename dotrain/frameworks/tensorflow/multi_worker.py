"""Synchronous data-parallel training over several workers, with Keras 3."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

from annotated_types import Ge

from dotrain.core.strategy import AbstractStrategy, PortTaken, Seat
from dotrain.distribution.loopback import closed_to_others
from dotrain.frameworks.tensorflow.distributed import by_rows, distributed, require_backend
from dotrain.training.errors import BadSetup

_UNUSED = (
    "the train function has run nothing under its strategy, so every worker has trained the same "
    "model apart: build and compile the model inside `with dist_strategy():`"
)


class MultiWorkerMirrored(AbstractStrategy):
    """Train one model on `workers` workers, each with its share of every batch.

    TensorFlow's ``MultiWorkerMirroredStrategy``, in a subclass that Keras 3 can use.
    """

    packages = ("tensorflow", "keras")

    def __init__(self, workers: Annotated[int | None, Ge(1)] = None, exact: bool = True) -> None:
        """Make the strategy.

        Args:
            workers: How many, >= 1.
            exact: Compute what one process with the same global batch would; else as TensorFlow and
                Keras do by themselves, which is faster where convolutions take most of the time.
        """
        if workers is None:
            raise ValueError("strategy 'multi_worker_mirrored' needs 'workers': how many")
        if workers < 1:
            raise ValueError(f"workers: expected a number >= 1, got {workers}")
        self.workers = workers
        self.exact = exact
        self._strategy: Any = None

    @property
    def slots(self) -> int:
        """One slot for every rank."""
        return self.workers

    @property
    def open_ports(self) -> int:
        """One for every rank: TensorFlow's servers do what anyone asks who reaches them."""
        return self.workers

    def begin(self, seat: Seat) -> None:
        """Start this rank's server and wait for the other ranks."""
        require_backend("multi_worker_mirrored")
        os.environ["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": list(seat.addresses)},
                "task": {"type": "worker", "index": seat.rank},
            }
        )
        import tensorflow as tf

        cls = distributed(tf.distribute.MultiWorkerMirroredStrategy)
        try:
            # Its server listens on all addresses of the machine, whatever it is told.
            with closed_to_others(seat.addresses[seat.rank]):
                self._strategy = cls()
        except tf.errors.UnknownError as error:
            raise PortTaken(f"{seat.addresses[seat.rank]}: {error.message}") from None
        self._strategy.exact = self.exact
        # Every rank has the same number of batches, some of no rows: no need to ask at each step
        # whether all have one.
        self._strategy.extended.experimental_enable_get_next_as_optional = False

    def open(self) -> Any:
        """Return the strategy, which is its own scope."""
        return self._strategy

    def shard(self, dataset: Any) -> Any:
        """Split by rows."""
        return by_rows(dataset)

    def check_use(self) -> None:
        """Refuse a function that has trained without the strategy."""
        if not self._strategy.used:
            raise BadSetup(_UNUSED)

    def peer_is_gone(self, error: BaseException) -> bool:
        """Whether a collective operation has failed, which it does when a rank dies."""
        import tensorflow as tf

        return isinstance(
            error,
            tf.errors.UnavailableError
            | tf.errors.AbortedError
            | tf.errors.CancelledError
            | tf.errors.DeadlineExceededError,
        )
