"""Data for JAX: trees of arrays, in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, final

from dotrain.frameworks.jax.devices import Devices
from dotrain.frameworks.none import ArrayBatches


@final
class TreeBatches:
    """Batches of a tree of arrays of equal length; each iteration is an epoch.

    Args:
        data: Tuples, lists and dicts of what NumPy makes arrays of; a list counts as a tuple.
        size: Rows of a batch; the last one may have fewer.
        seed: By which each epoch shuffles the rows anew; None for their own order.
        epoch: Number of the first iteration.
    """

    def __init__(self, data: Any, size: int, seed: int | None, epoch: int = 0) -> None:
        import jax

        leaves, self._form = jax.tree.flatten(tuple(data) if isinstance(data, list) else data)
        self._batches = ArrayBatches(leaves, size, seed, epoch)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Any]:
        return map(self._form.unflatten, self._batches)


@final
class PlacedBatches:
    """Batches that are laid on the devices of all processes; each iteration is one of the source.

    Args:
        source: Global batches, the same in every process.
        devices: Where they are laid.
    """

    def __init__(self, source: Iterable[Any], devices: Devices) -> None:
        self._source = source
        self._devices = devices

    def __len__(self) -> int:
        return len(self._source)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self._source):
            if number == 0:
                self._devices.say_if_nobody_shares(batch)
            yield self._devices.shard(batch)

    def __repr__(self) -> str:
        # Keras shows it where it doesn't take it.
        return "batches for a loop in JAX: for `fit` let the data function return arrays, and set KERAS_BACKEND=jax"
