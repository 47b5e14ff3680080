"""No framework: Python's own generators, and NumPy's arrays."""

from __future__ import annotations

import itertools
import random
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

from dotrain.frameworks.base import AbstractFramework
from dotrain.frameworks.rows import ArrayRows, Cut, Rows, checked_size, read


@final
class NoFramework(AbstractFramework):
    """Plain Python and NumPy; takes whatever no other framework takes."""

    def threads(self, count: int) -> Mapping[str, str]:
        """Limit the pools of numerical libraries."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return dict.fromkeys(names, str(count))

    def seed(self, seed: int) -> None:
        """Seed Python's generator, and NumPy's if it is loaded."""
        random.seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed)

    def random_state(self) -> Any:
        """Return the states of both."""
        version, words, normal = random.getstate()
        state: dict[str, Any] = {"python": [version, _packed(words), normal]}
        if "numpy" in sys.modules:
            name, words, *rest = sys.modules["numpy"].random.get_state()
            state["numpy"] = [name, _packed(words), *rest]
        return state

    def set_random_state(self, state: Any) -> None:
        """Set the states of both."""
        version, words, normal = state["python"]
        random.setstate((version, _unpacked(words), normal))
        if "numpy" in state:
            import numpy as np

            name, words, *rest = state["numpy"]
            np.random.set_state((name, _unpacked(words), *rest))

    def takes_data(self, data: Any) -> bool:
        """Take arrays, and rows."""
        return are_arrays(data) or isinstance(data, Rows)

    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        """Return `ArrayBatches`."""
        return ArrayBatches(data, size, seed, epoch)


def _packed(words: Iterable[int]) -> str:
    """Return numbers of 32 bits in a quarter of the letters that a list takes."""
    return b64encode(b"".join(int(word).to_bytes(4, "little") for word in words)).decode()


def _unpacked(text: str) -> tuple[int, ...]:
    data = b64decode(text)
    return tuple(int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4))


def are_arrays(data: Any) -> bool:
    """Whether data are a tuple or list of arrays, one at least."""
    return isinstance(data, tuple | list) and all(hasattr(p, "shape") for p in data) and bool(data)


def rows_of(data: Any) -> Rows:
    """Return the rows of arrays, or of what NumPy makes arrays of; rows stay what they are.

    Raises:
        ValueError: If there aren't equally many in each.
    """
    return data if isinstance(data, Rows) else ArrayRows(data)


@final
class ArrayBatches:
    """Batches of NumPy arrays of equal length; each iteration is an epoch.

    Args:
        data: The arrays, or what NumPy makes arrays of; or rows.
        size: Rows of a batch; the last one may have fewer.
        seed: By which each epoch shuffles the rows anew; None for their own order.
        epoch: Number of the first iteration.
    """

    def __init__(self, data: Any, size: int, seed: int | None, epoch: int = 0) -> None:
        self._size = checked_size(size)
        self._rows = rows_of(data)
        self._seed = seed
        self._epochs = itertools.count(epoch)

    def __len__(self) -> int:
        return -(-len(self._rows) // self._size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        cut = Cut(self._rows, self._size, self._seed, next(self._epochs))
        yield from read(self._rows, cut)
