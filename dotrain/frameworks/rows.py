"""Rows that are read when a batch of them is made: of arrays, or of what is larger than memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

from dotrain.frameworks.base import epoch_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: A batch, or more of them: arrays of equal length, (features, labels, ...).
Parts = tuple["NDArray[Any]", ...]
#: For each part the type and the shape of a row.
Signature = tuple[tuple["np.dtype[Any]", tuple[int, ...]], ...]


class Order(Protocol):
    """The numbers of an epoch's rows in their order: an array, or what computes a piece of it when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, piece: slice, /) -> NDArray[np.intp]: ...


@runtime_checkable
class BatchOrder(Order, Protocol):
    """An order in which rows that lie together are neighbours within a batch, so that one rank reads them."""

    def batch(self, first: int, end: int, /) -> NDArray[np.intp]:
        """Return the rows of a piece of the order, in the order in which ranks share them."""


class Rows(ABC):
    """A number of rows, of which any can be had.

    A data function may return some of its own; each framework makes the batches of them that it makes of arrays with the
    same rows: in the same order, of the same sizes, split between ranks alike. They are taken in the process
    that trains, by one thread at a time.
    """

    #: How many rows at least are taken at once, where more will be asked for: each batch alone, by default.
    rows_at_once: int = 1

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def take(self, indices: NDArray[np.intp]) -> Parts:
        """Return rows by their numbers, as new arrays.

        Args:
            indices: In [0, `len`), in any order; there may be none.

        Returns:
            One array or several, (features, labels, ...), each with a row for each index.
        """

    def order(self, seed: int | None, epoch: int) -> Order:
        """Return the order of an epoch's rows: `epoch_order`, unless rows that lie together are to be read together.

        Args:
            seed: Of the data; None for their own order.
            epoch: Its number, >= 0.

        Returns:
            Each row's number once. It depends on nothing but the rows, `seed` and `epoch`: so ranks, which ask
            for it one by one, have the same.
        """
        order: Order = epoch_order(len(self), seed, epoch)
        return order

    def forget(self) -> None:  # noqa: B027
        """Give memory back that holds rows: an epoch is over. What is taken from then on is read again."""

    @property
    def signature(self) -> Signature:
        """The type and shape of a row of each part."""
        import numpy as np

        parts = self.take(np.empty(0, np.intp))
        return tuple((part.dtype, part.shape[1:]) for part in parts)


@final
class ArrayRows(Rows):
    """Those of arrays of equal length.

    Args:
        arrays: The arrays, or what NumPy makes arrays of; one at least.

    Raises:
        ValueError: If their lengths differ.
    """

    def __init__(self, arrays: Iterable[Any]) -> None:
        import numpy as np

        self._arrays = tuple(np.asarray(part) for part in arrays)
        if len({len(array) for array in self._arrays}) != 1:
            shapes = ", ".join(str(array.shape) for array in self._arrays)
            raise ValueError(f"arrays to batch must have equally many rows, got shapes {shapes}")

    def __len__(self) -> int:
        return len(self._arrays[0])

    def take(self, indices: NDArray[np.intp]) -> Parts:
        """Return rows by their numbers."""
        return tuple(array[indices] for array in self._arrays)


@final
class Cut(Sequence["NDArray[np.intp]"]):
    """The numbers of the rows of each batch of an epoch.

    Args:
        rows: What is cut.
        size: Rows of a batch, >= 1; the last one may have fewer.
        seed: By which they are shuffled; None for their own order.
        epoch: Its number, >= 0.

    Raises:
        ValueError: If the size is none.
    """

    def __init__(self, rows: Rows, size: int, seed: int | None, epoch: int) -> None:
        self._order = rows.order(seed, epoch)
        self._size = checked_size(size)

    def __len__(self) -> int:
        return -(-len(self._order) // self._size)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        first = range(len(self))[number] * self._size
        end = min(first + self._size, len(self._order))
        if isinstance(self._order, BatchOrder):
            return self._order.batch(first, end)
        return self._order[first:end]


def checked_size(size: int) -> int:
    """Return the size of a batch.

    Raises:
        ValueError: If it is none.
    """
    if size < 1:
        raise ValueError(f"batch_size: expected a number >= 1, got {size}")
    return size


def read(rows: Rows, batches: Iterable[NDArray[np.intp]]) -> Generator[Parts]:
    """Yield batches of rows; several of them are taken at once, where that is faster. At the end rows are forgotten.

    Args:
        rows: What is read.
        batches: The numbers of each batch's rows.
    """
    import numpy as np

    waiting: list[NDArray[np.intp]] = []

    def taken() -> Iterator[Parts]:
        if len(waiting) == 1:
            yield rows.take(waiting[0])
            return
        parts = rows.take(np.concatenate(waiting))
        first = 0
        for end in np.cumsum([len(batch) for batch in waiting]).tolist():
            yield tuple(part[first:end] for part in parts)
            first = end

    count = 0
    try:
        for batch in batches:
            waiting.append(batch)
            count += len(batch)
            if count >= rows.rows_at_once:
                yield from taken()
                waiting, count = [], 0
        if waiting:
            yield from taken()
    finally:
        rows.forget()
