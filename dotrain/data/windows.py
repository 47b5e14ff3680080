"""The order of an epoch of a table that is read in pieces: pure.

Rows far apart can't be had one by one from what is stored in pieces, each of which is decoded as a whole. So an epoch
goes from *window* to window: its pieces are shuffled, as many of them as may be in memory together are a
window, and its rows are shuffled within. A row meets in its batch others of the same window alone: where the
table is sorted (by time, by label), and has few pieces, batches are less mixed than those of arrays. A
table of a single window is shuffled as arrays are, and trains as they do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from dotrain.core.seeding import derive_seed
from dotrain.frameworks.base import epoch_order, epoch_seed
from dotrain.frameworks.rows import Order

#: What the number of a row takes in the order of its window while that is made.
BYTES_OF_A_NUMBER = 24
#: So many pieces are in a window at least, where they aren't of one group: each is a part of what is mixed.
PIECES_OF_A_WINDOW = 16


def pieces_of(sizes: Sequence[int], most: int) -> list[range]:
    """Return groups that are decoded together: neighbours, so that small ones don't cost one by one.

    Args:
        sizes: Bytes of each group, decoded.
        most: Bytes of a window.
    """
    found: list[range] = []
    first, filled = 0, 0
    for place, size in enumerate(sizes):
        if place > first and filled + size > most // PIECES_OF_A_WINDOW:
            found.append(range(first, place))
            first, filled = place, 0
        filled += size
    if first < len(sizes):
        found.append(range(first, len(sizes)))
    return found


def windows_of(order: Sequence[int], sizes: Sequence[int], most: int) -> list[list[int]]:
    """Return the pieces of each window: neighbours in an order, of at most so many bytes, one at least.

    Args:
        order: The numbers of the pieces.
        sizes: Bytes of each piece, by its number.
        most: Bytes of a window.
    """
    found: list[list[int]] = []
    filled = 0
    for piece in order:
        if not found or filled + sizes[piece] > most:
            found.append([])
            filled = 0
        found[-1].append(piece)
        filled += sizes[piece]
    return found


def order_of(
    bounds: NDArray[np.intp], sizes: Sequence[int], most: int, seed: int | None, epoch: int
) -> Order:
    """Return the order of an epoch's rows.

    Args:
        bounds: Where the rows of each piece begin, and where the last one's end, among all that are counted.
        sizes: Bytes of each piece, with all columns, whichever are read: so arms that leave columns out have the
            same order.
        most: Bytes of a window.
        seed: Of the data; None for their own order.
        epoch: Its number, >= 0.
    """
    if seed is None:
        return InOrder(int(bounds[-1]))
    if sum(sizes) <= most:
        order: Order = epoch_order(int(bounds[-1]), seed, epoch)
        return order
    own = epoch_seed(seed, epoch)
    shuffled = np.random.RandomState(own).permutation(len(sizes)).tolist()
    return WindowOrder(bounds, windows_of(shuffled, sizes, most), own)


class _Computed(ABC):
    """Numbers of rows that are computed when they are asked for."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, piece: slice, /) -> NDArray[np.intp]:
        first, end, step = piece.indices(self._count)
        if step != 1:
            raise ValueError(f"expected neighbours, got a step of {step}")
        found = list(self._between(first, end)) if first < end else []
        return found[0] if len(found) == 1 else np.concatenate([np.empty(0, np.intp), *found])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.intp)

    @abstractmethod
    def _between(self, first: int, end: int) -> Iterator[NDArray[np.intp]]:
        """Yield the numbers of neighbouring rows, in one piece or several."""


@final
class InOrder(_Computed):
    """Rows in their own order."""

    def _between(self, first: int, end: int) -> Iterator[NDArray[np.intp]]:
        yield np.arange(first, end)


@final
class WindowOrder(_Computed):
    """Rows in windows, one after the other; what takes memory is the window that was asked for last.

    Within a batch the rows of a piece are neighbours, so that each of several ranks, which share them in their order,
    needs but some of a window's pieces.

    Args:
        bounds: Where the rows of each piece begin, and where the last one's end.
        windows: The pieces of each.
        seed: Of the epoch.
    """

    def __init__(
        self, bounds: NDArray[np.intp], windows: Sequence[Sequence[int]], seed: int
    ) -> None:
        super().__init__(int(bounds[-1]))
        self._bounds, self._windows, self._seed = bounds, windows, seed
        lengths = [int(sum(bounds[p + 1] - bounds[p] for p in pieces)) for pieces in windows]
        self._ends = np.cumsum(lengths)
        none = np.empty(0, np.intp)
        #: The number of a window, its rows piece by piece, and which of these come after each other.
        self._last: tuple[int, NDArray[np.intp], NDArray[np.intp]] = -1, none, none

    def batch(self, first: int, end: int, /) -> NDArray[np.intp]:
        """Return the rows of a batch, those of a piece beside each other."""
        found, shares = [np.empty(0, np.intp)], [np.empty(0)]
        for rows, places in self._shuffled(first, end):
            found.append(rows[places])
            # Where a window ends, a rank needs the same part of the next one.
            shares.append(places / len(rows))
        order = np.argsort(np.concatenate(shares), kind="stable")
        batch: NDArray[np.intp] = np.concatenate(found)[order]
        return batch

    def _between(self, first: int, end: int) -> Iterator[NDArray[np.intp]]:
        return (rows[places] for rows, places in self._shuffled(first, end))

    def _shuffled(
        self, first: int, end: int
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the rows of each window that is touched, and the places of those between two numbers among them."""
        window = int(np.searchsorted(self._ends, first, side="right"))
        while first < end:
            rows, places = self._window(window)
            begin = int(self._ends[window]) - len(rows)
            yield rows, places[first - begin : end - begin]
            first = int(self._ends[window])
            window += 1

    def _window(self, window: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        number, rows, places = self._last
        if number != window:
            pieces = self._windows[window]
            rows = np.concatenate([np.arange(self._bounds[p], self._bounds[p + 1]) for p in pieces])
            draws = np.random.RandomState(derive_seed(self._seed, "window", window))
            places = draws.permutation(len(rows))
            self._last = window, rows, places
        return rows, places
