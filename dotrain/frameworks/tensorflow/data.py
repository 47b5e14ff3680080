"""Data for TensorFlow and Keras: ``tf.data``."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, final

from dotrain.frameworks.base import AbstractFramework, epoch_order, epoch_seed
from dotrain.frameworks.none import are_arrays
from dotrain.frameworks.rows import Cut, Parts, Rows, checked_size, read

#: Rows among which the next one is drawn, of a data set that may be larger than memory.
_BUFFER = 10_000


class TensorFlowData(AbstractFramework):
    """A framework that trains on a ``tf.data.Dataset``."""

    def takes_data(self, data: Any) -> bool:
        """Take data sets of rows, arrays, and rows that are read."""
        return are_arrays(data) or isinstance(data, Rows) or hasattr(data, "element_spec")

    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        """Return a data set of batches; of rows whose number isn't known, some are shuffled at a time."""
        import tensorflow as tf

        arrays = are_arrays(data)
        if isinstance(data, Rows):
            batches = _read_rows(data, size, seed, epoch)
        elif seed is None:
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


def _read_rows(data: Rows, size: int, seed: int | None, epoch: int) -> Any:
    """Return a data set of batches that are read when they are asked for.

    It ends with `batch`, as others do, whose size strategies look for; what is put into batches are numbers of rows.
    """
    import tensorflow as tf

    rows, signature = len(data), data.signature
    reader = _Reader(data, checked_size(size), seed)
    epochs = _each_epoch(lambda number: number, tf.TensorSpec((), tf.int64), epoch)
    numbers = epochs.flat_map(
        lambda number: tf.data.Dataset.range(number * rows, (number + 1) * rows)
    )
    numbers = numbers.apply(tf.data.experimental.assert_cardinality(rows))

    def parts(chosen: Any) -> tuple[Any, ...]:
        found = tf.numpy_function(reader, [chosen[0]], [dtype for dtype, _ in signature])
        return tuple(
            tf.ensure_shape(part, (None, *shape))
            for part, (_, shape) in zip(found, signature, strict=True)
        )

    return numbers.batch(size).map(parts)


@final
class _Reader:
    """Reads batches by the numbers of their first rows, which go on from one epoch to the next.

    Any can be asked for, as iterations may run beside each other; one after the other they are read ahead.
    """

    def __init__(self, rows: Rows, size: int, seed: int | None) -> None:
        self._rows, self._size, self._seed = rows, size, seed
        self._lock = threading.Lock()
        self._next = -1
        self._batches: Generator[Parts] = read(rows, ())

    def __call__(self, number: Any) -> list[Any]:
        with self._lock:
            first = int(number)
            epoch, place = divmod(first, len(self._rows))
            if first != self._next or not place:
                cut = Cut(self._rows, self._size, self._seed, epoch)
                self._batches = read(
                    self._rows, (cut[each] for each in range(place // self._size, len(cut)))
                )
            batch = next(self._batches)
            self._next = first + len(batch[0])
            if self._next % len(self._rows) == 0:
                self._batches.close()
            return list(batch)


def _shuffled_rows(data: Any, seed: int, epoch: int) -> Any:
    import tensorflow as tf

    seeds = _each_epoch(lambda number: epoch_seed(seed, number), tf.TensorSpec((), tf.int64), epoch)
    rows = seeds.flat_map(
        lambda number: data.shuffle(_BUFFER, seed=number, reshuffle_each_iteration=False)
    )
    known = data.cardinality()
    return rows.apply(tf.data.experimental.assert_cardinality(known)) if known >= 0 else rows
