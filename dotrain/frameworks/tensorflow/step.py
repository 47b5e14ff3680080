"""A training step under way: what is known of each replica's share of the batch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Step:
    """A training step under way on each replica, each of which a thread traces."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def rows(self) -> Any:
        """Rows of this replica's share of the batch, a scalar; None outside a step."""
        return getattr(self._local, "rows", None)

    @property
    def filled(self) -> Any:
        """Whether the model sees a row that isn't there, a scalar; None where it can't."""
        return getattr(self._local, "filled", None)

    @filled.setter
    def filled(self, filled: Any) -> None:
        self._local.filled = filled

    @property
    def is_weighted(self) -> bool:
        """Whether this replica's loss has been multiplied by its rows."""
        return getattr(self._local, "weighted", False)

    def weigh(self, loss: Any, replicas: int) -> Any:
        """Return the loss, which Keras has divided by `replicas`, summed over this one's rows."""
        import tensorflow as tf

        self._local.weighted = True
        return loss * tf.cast(self.rows * float(replicas), loss.dtype)

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step's function that knows its rows."""
        import tensorflow as tf

        def counted(*args: Any, **kwargs: Any) -> Any:
            if parts := with_rows((args, kwargs)):
                self._local.rows = tf.cast(tf.shape(parts[0])[0], tf.float32)
            try:
                return function(*args, **kwargs)
            finally:
                self._local.rows, self._local.weighted = None, False

        return counted


def with_rows(structure: Any) -> list[Any]:
    """Return the tensors of a structure that have rows."""
    import tensorflow as tf

    return [part for part in tf.nest.flatten(structure) if has_rows(part)]


def has_rows(part: Any) -> bool:
    """Whether something is a tensor with a dimension of rows."""
    shape = getattr(part, "shape", None)
    return shape is not None and shape.rank != 0
