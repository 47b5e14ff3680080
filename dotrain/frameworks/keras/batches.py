"""Data for Keras on JAX and on PyTorch: NumPy arrays in batches, in the order of each epoch's number.

Imported where Keras is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, final

import keras
import numpy as np

from dotrain.frameworks.base import epoch_order


def _as_it_is(batch: Any) -> Any:
    return batch


@final
class KerasBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of arrays of equal length, for ``model.fit`` and for a loop; each iteration is an epoch.

    The n-th batch that is asked for in an iteration is the n-th, whatever the index: `fit` would shuffle whole
    batches once more, which have been shuffled row by row.

    Args:
        data: The arrays, or what NumPy makes arrays of.
        size: Rows of a batch; the last one may have fewer.
        seed: By which each epoch shuffles the rows anew; None for their own order.
        epoch: Number of the first iteration.
        place: Lays a batch where it is wanted.
    """

    def __init__(
        self,
        data: Any,
        size: int,
        seed: int | None,
        epoch: int,
        place: Callable[[Any], Any] = _as_it_is,
    ) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"batch_size: expected a number >= 1, got {size}")
        self._arrays = tuple(np.asarray(part) for part in data)
        if len({len(array) for array in self._arrays}) != 1:
            shapes = ", ".join(str(array.shape) for array in self._arrays)
            raise ValueError(f"arrays to batch must have equally many rows, got shapes {shapes}")
        self._size = size
        self._seed = seed
        self._epoch = epoch
        self._place = place
        #: How many batches of the epoch have been given.
        self._given = 0
        #: The epoch's rows.
        self._order: Any = None

    def placed(self, place: Callable[[Any], Any]) -> KerasBatches:
        """Return the same batches, laid where they are wanted."""
        return KerasBatches(self._arrays, self._size, self._seed, self._epoch, place)

    def __len__(self) -> int:
        return -(-len(self._arrays[0]) // self._size)

    @property
    def num_batches(self) -> int:
        """How many an epoch has; Keras asks for it when it begins an iteration, which is a new epoch."""
        if self._given:
            self._next_epoch()
        return len(self)

    def __getitem__(self, index: int) -> Any:
        if self._order is None:
            self._order = epoch_order(len(self._arrays[0]), self._seed, self._epoch)
        first = self._given * self._size
        chosen = self._order[first : first + self._size]
        batch = self._place(tuple(array[chosen] for array in self._arrays))
        if self._given or not _keras_only_looks():
            self._given += 1
            if self._given == len(self):
                self._next_epoch()
        return batch

    def _next_epoch(self) -> None:
        self._given, self._order = 0, None
        self._epoch += 1


def _keras_only_looks() -> bool:
    """Whether Keras asks for a batch to learn its shapes, and trains on none."""
    frame: FrameType | None = sys._getframe(2)
    # PyTorch's loader stands in between.
    while frame is not None and frame.f_globals.get("__name__", "").startswith(
        ("keras.", "torch.")
    ):
        if frame.f_code.co_name == "_symbolic_build":
            return True
        frame = frame.f_back
    return False
