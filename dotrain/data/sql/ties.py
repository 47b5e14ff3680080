"""Rows that an ORDER BY leaves in any order: they may come in another one the next time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, final

from dotrain.data.source import BadData

if TYPE_CHECKING:
    import pyarrow as pa


@final
class Ties:
    """Looks at rows in their order for two that have the same keys, and differ otherwise."""

    def __init__(self, names: Sequence[str], keys: Sequence[int] | None) -> None:
        """Begin before the first row.

        Args:
            names: Of the columns.
            keys: Which of them rows are ordered by; None if that can't be told, and nothing is looked at.
        """
        self._names = names
        self._keys = list(dict.fromkeys(keys or ()))
        self._last: pa.RecordBatch | None = None
        self._rows = 0

    def check(self, batch: pa.RecordBatch) -> None:
        """Look at the next rows.

        Raises:
            BadData: If the order of two rows isn't said.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._keys:
            return
        if self._last is not None:
            batch = pa.concat_batches([self._last, batch])
        tied = _same(batch, self._keys)
        if tied.true_count:
            others = [i for i in range(batch.num_columns) if i not in self._keys]
            differs = pc.and_(tied, pc.invert(_same(batch, others)))
            for row in pc.indices_nonzero(differs).to_pylist()[:1]:
                first = self._rows + row + (0 if self._last is not None else 1)
                keys = ", ".join(self._names[i] for i in self._keys)
                raise BadData(
                    f"rows {first} and {first + 1} have the same {keys}: which of them comes first, the ORDER BY "
                    "doesn't say, and another time it may be the other; order by more columns, such as "
                    f"ORDER BY {keys}, id",
                    "sql",
                )
        self._rows += batch.num_rows - (self._last is not None)
        self._last = batch.slice(batch.num_rows - 1)


def _same(batch: pa.RecordBatch, columns: Iterable[int]) -> pa.BooleanArray:
    """Return for each row but the last whether it equals the next one in some columns."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    count = batch.num_rows - 1
    same = pa.array(np.ones(count, dtype=bool))
    for i in columns:
        one, other = batch.column(i).slice(0, count), batch.column(i).slice(1)
        missing = pc.and_(pc.is_null(one, nan_is_null=True), pc.is_null(other, nan_is_null=True))
        equal = missing if pa.types.is_null(one.type) else pc.equal(one, other).fill_null(False)
        same = pc.and_(same, pc.or_(missing, equal))
    return same
