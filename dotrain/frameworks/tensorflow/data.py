"""Data for TensorFlow and Keras: ``tf.data``."""

from __future__ import annotations

from typing import Any

from dotrain.frameworks.base import AbstractFramework
from dotrain.frameworks.none import are_arrays


class TensorFlowData(AbstractFramework):
    """A framework that trains on a ``tf.data.Dataset``."""

    def takes_data(self, data: Any) -> bool:
        """Take data sets of rows, and arrays."""
        return are_arrays(data) or hasattr(data, "element_spec")

    def batches(self, data: Any, size: int, seed: int | None) -> Any:
        """Return a data set of batches."""
        import tensorflow as tf

        arrays = are_arrays(data)
        rows: Any = tf.data.Dataset.from_tensor_slices(tuple(data)) if arrays else data
        if seed is not None:
            buffer = len(data[0]) if arrays else 10_000
            rows = rows.shuffle(buffer, seed=seed, reshuffle_each_iteration=True)
        return rows.batch(size).prefetch(tf.data.AUTOTUNE)

    def same_data(self, one: Any, other: Any) -> bool | None:
        """Compare the types of two data sets, and their first rows."""
        if not (hasattr(one, "element_spec") and hasattr(other, "element_spec")):
            return None
        import numpy as np
        import tensorflow as tf

        if one.element_spec != other.element_spec:
            return False
        firsts = [tf.nest.flatten(next(iter(rows.batch(256)), ())) for rows in (one, other)]
        if len({len(first) for first in firsts}) > 1:
            return False
        try:
            return all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(*firsts, strict=True))
        except (TypeError, ValueError):
            return False
