"""Data for Keras on JAX and on PyTorch: NumPy arrays in batches, in the order of each epoch's number.

This imports Keras.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from types import FrameType
from typing import Any, Protocol, final

import keras

from dotrain.frameworks.none import rows_of
from dotrain.frameworks.rows import Cut, Parts, checked_size, read
from dotrain.training.errors import BadSetup


class Placement(Protocol):
    """Where batches are laid: on the devices of several processes."""

    def shard(self, batch: Any) -> Any:
        """Lay a batch, each device with its share of the rows."""

    def replicate(self, batch: Any) -> Any:
        """Lay a batch, each device with the whole of it."""

    def say_if_nobody_shares(self, batch: Any) -> None:
        """Say it of a data set's first batch."""


@final
class KerasBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of arrays of equal length, for ``model.fit`` and for a loop; each iteration is an epoch.

    The n-th batch that is asked for in an iteration is the n-th, whatever the index: `fit` would shuffle whole
    batches once more, which have been shuffled row by row.

    Args:
        data: The arrays, or what NumPy makes arrays of; or rows.
        size: Rows of a batch; the last one may have fewer.
        seed: By which each epoch shuffles the rows anew; None for their own order.
        epoch: Number of the first iteration.
        placement: Where they are laid; None: nowhere.
    """

    def __init__(
        self,
        data: Any,
        size: int,
        seed: int | None,
        epoch: int,
        placement: Placement | None = None,
    ) -> None:
        super().__init__()
        self._size = checked_size(size)
        self._rows = rows_of(data)
        self._seed = seed
        self._epoch = epoch
        self._placement = placement
        #: How many batches of the epoch have been given.
        self._given = 0
        #: The epoch's batches, and that which has been looked at.
        self._reading: Generator[Parts] | None = None
        self._looked: Parts | None = None

    def placed(self, placement: Placement) -> KerasBatches:
        """Return the same batches, laid on devices of JAX's.

        Raises:
            BadSetup: If Keras doesn't compute with JAX.
        """
        if (backend := keras.backend.backend()) != "jax":
            raise BadSetup(
                f"Keras computes with {backend} here, and the strategy's devices are JAX's: set KERAS_BACKEND=jax "
                "(env: [{KERAS_BACKEND: jax}] in the config), or take a strategy of its own"
            )
        return KerasBatches(self._rows, self._size, self._seed, self._epoch, placement)

    def __len__(self) -> int:
        return -(-len(self._rows) // self._size)

    @property
    def num_batches(self) -> int:
        """How many an epoch has; Keras asks for it when it begins an iteration, which is a new epoch."""
        if self._given:
            self._next_epoch()
        return len(self)

    def __getitem__(self, index: int) -> Any:
        if self._reading is None:
            cut = Cut(self._rows, self._size, self._seed, self._epoch)
            self._reading = read(self._rows, cut)
        is_first = not self._given
        batch = self._looked or next(self._reading)
        asker = sys._getframe(1)
        purpose = _purpose(asker)
        if is_first and purpose == "look":
            self._looked = batch
        else:
            self._looked = None
            self._given += 1
            if self._given == len(self):
                self._next_epoch()
        if self._placement is None:
            return batch
        if is_first:
            _refuse_class_weights(asker)
            self._placement.say_if_nobody_shares(batch)
        # What is predicted is wanted whole in every process.
        lay = self._placement.replicate if purpose == "predict" else self._placement.shard
        return lay(batch)

    def _next_epoch(self) -> None:
        if self._reading is not None:
            self._reading.close()
        self._given, self._reading, self._looked = 0, None, None
        self._epoch += 1


def _askers(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the functions of Keras that ask for a batch, from the innermost on."""
    # PyTorch's loader stands in between.
    while frame is not None and frame.f_globals.get("__name__", "").startswith(
        ("keras.", "torch.")
    ):
        yield frame
        frame = frame.f_back


def _purpose(asker: FrameType) -> str:
    """Return what Keras wants a batch for: to ``look`` at its shapes, to ``predict``, or ``""``."""
    purposes = {"_symbolic_build": "look", "predict": "predict"}
    found = (purposes.get(frame.f_code.co_name, "") for frame in _askers(asker))
    return next(filter(None, found), "")


def _refuse_class_weights(asker: FrameType) -> None:
    """Refuse weights of classes: Keras would look at labels that lie on the devices of other processes.

    Raises:
        BadSetup: If there are any.
    """
    if any(getattr(frame.f_locals.get("self"), "class_weight", None) for frame in _askers(asker)):
        raise BadSetup(
            "model.fit(class_weight=...) doesn't work with batches on several workers: let the data function return "
            "each row's weight as a third array"
        )
