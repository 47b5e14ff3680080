"""Which columns tell another one: what is left out of a table may still be there under another name."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Agreement that chance alone would bring about more often than this says nothing.
_CHANCE: Final = 1e-6
#: Columns that are equal in more different values than these are copies.
_COPIED: Final = 20
#: Most pairs are told apart by their first rows.
_FIRST: Final = 4096


@final
class Determined:
    """Finds the columns of which each value goes with one value of another column on all rows.

    A missing value (NaN too) is a value like any other. A column whose values are nearly all different, an id or a
    measured number, goes with any other by that alone and is not named: were the rows of the other column dealt anew,
    those that share a value of the first would have to agree by chance, which has a probability of ``p ** k``; ``p``
    is that of two rows to agree in the other column, ``k`` the number of rows whose value of the first stood in an earlier
    row. It is named where that is below one in a million. So a constant column is determined by none.

    Each column is coded once; a pair takes one pass over its rows, and mostly over the first of them.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        """Take the columns.

        Args:
            columns: Arrow or NumPy arrays, all of one length, by name.
        """
        self._columns = columns
        self._known: dict[str, tuple[NDArray[np.int64], int]] = {}

    def of(self, left_out: str, remaining: Collection[str]) -> tuple[str, ...]:
        """Return which of the remaining columns determine a left-out one, in their order.

        Args:
            left_out: Its name.
            remaining: The names of the others that an arm still has.
        """
        import numpy as np

        codes, number = self._codes(left_out)
        rows = len(codes)
        if rows < 2:
            return ()
        counts = np.bincount(codes, minlength=number).astype(float)
        same = float((counts * (counts - 1)).sum()) / (rows * (rows - 1))
        # Of two rows that never agree, a missing pair is as good as one.
        bits = -math.log(max(same, 1 / (rows * (rows - 1))))
        whole = self._columns[left_out]
        return tuple(
            name
            for name in remaining
            if name != left_out
            and (_is_copy(self._columns[name], whole) or self._determines(name, codes, bits))
        )

    def _determines(self, name: str, codes: NDArray[np.int64], bits: float) -> bool:
        own, number = self._codes(name)
        if (len(own) - number) * bits <= -math.log(_CHANCE):
            return False
        return all(_goes_with(own[:some], codes[:some], number) for some in (_FIRST, len(own)))

    def _codes(self, name: str) -> tuple[NDArray[np.int64], int]:
        """Return the number of each row's value, and how many values there are."""
        if name not in self._known:
            self._known[name] = _coded(self._columns[name])
        return self._known[name]


def _is_copy(one: Any, other: Any) -> bool:
    """Whether two columns hold the same, row by row, and of more values than chance would make alike."""
    import pyarrow as pa

    first, second = (
        array if isinstance(array, pa.Array) else pa.array(array) for array in (one, other)
    )
    return bool(
        first.type == second.type and first.equals(second) and len(first.unique()) > _COPIED
    )


def _goes_with(own: NDArray[np.int64], other: NDArray[np.int64], number: int) -> bool:
    """Whether each value of one goes with one value of the other."""
    import numpy as np

    some = np.zeros(number, np.int64)
    # Of several rows one is kept; whichever that is, all must agree with it.
    some[own] = other
    return bool((some[own] == other).all())


def _coded(column: Any) -> tuple[NDArray[np.int64], int]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    array = (
        column
        if isinstance(column, pa.Array | pa.ChunkedArray)
        else pa.array(column, from_pandas=True)
    )
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array).fill_null(False), pa.scalar(None, array.type), array)
    coded = array.dictionary_encode(null_encoding="encode")
    return np.asarray(coded.indices).astype(np.int64), len(coded.dictionary)
