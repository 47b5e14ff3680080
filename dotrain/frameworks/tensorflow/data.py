"""Data for TensorFlow and Keras: ``tf.data``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from dotrain.frameworks.base import AbstractFramework, epoch_order, epoch_seed
from dotrain.frameworks.none import are_arrays

#: Rows among which the next one is drawn, of a data set that may be larger than memory.
_BUFFER = 10_000


class TensorFlowData(AbstractFramework):
    """A framework that trains on a ``tf.data.Dataset``."""

    def takes_data(self, data: Any) -> bool:
        """Take data sets of rows, and arrays."""
        return are_arrays(data) or hasattr(data, "element_spec")

    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        """Return a data set of batches; of rows whose number isn't known, some are shuffled at a time."""
        import tensorflow as tf

        arrays = are_arrays(data)
        if seed is None:
            rows = tf.data.Dataset.from_tensor_slices(tuple(data)) if arrays else data
            batches = rows.batch(size)
        elif arrays:
            batches = _shuffled_arrays(data, size, seed, epoch)
        else:
            batches = _shuffled_rows(data, seed, epoch).batch(size)
        return batches.prefetch(tf.data.AUTOTUNE)

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


def _each_epoch(value: Callable[[int], Any], spec: Any, epoch: int) -> Any:
    """Return a data set of one element: in each iteration that of the next epoch.

    A data set's own shuffling can't begin with any epoch but the first.
    """
    import tensorflow as tf

    epochs = itertools.count(epoch)

    def one() -> Iterator[Any]:
        yield value(next(epochs))

    return tf.data.Dataset.from_generator(one, output_signature=spec)


def _shuffled_arrays(data: Any, size: int, seed: int, epoch: int) -> Any:
    import tensorflow as tf

    parts = tuple(map(tf.convert_to_tensor, data))
    rows = len(data[0])
    spec = tf.TensorSpec((rows,), tf.int64)
    orders = _each_epoch(lambda number: epoch_order(rows, seed, number), spec, epoch)
    indices = orders.flat_map(tf.data.Dataset.from_tensor_slices)
    indices = indices.apply(tf.data.experimental.assert_cardinality(rows))
    return indices.batch(size).map(lambda chosen: tuple(tf.gather(part, chosen) for part in parts))


def _shuffled_rows(data: Any, seed: int, epoch: int) -> Any:
    import tensorflow as tf

    seeds = _each_epoch(lambda number: epoch_seed(seed, number), tf.TensorSpec((), tf.int64), epoch)
    rows = seeds.flat_map(
        lambda number: data.shuffle(_BUFFER, seed=number, reshuffle_each_iteration=False)
    )
    known = data.cardinality()
    return rows.apply(tf.data.experimental.assert_cardinality(known)) if known >= 0 else rows
