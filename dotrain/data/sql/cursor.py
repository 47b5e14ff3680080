"""From a cursor's rows to Arrow."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from dotrain.data.sql import postgres
from dotrain.data.sql.types import as_floats, refuse_type, refuse_value

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

#: Rows that are turned into Arrow at once.
CHUNK: Final = 65536


def postgres_types(result: sa.CursorResult[Any]) -> list[pa.DataType]:
    """Return the types of Postgres' columns, by the numbers that it has for them; decimal where they become floats.

    Raises:
        BadData: If a table takes none of a type.
    """
    known = dict(postgres.types().values())
    found = []
    description: Any = result.cursor.description if result.cursor else ()
    for name, number, *_ in description:
        if number not in known:
            asked = f"SELECT format_type({int(number)}, NULL)"
            refuse_type(name, str(result.connection.exec_driver_sql(asked).scalar()))
        found.append(known[number])
    return found


def batches_from(
    result: sa.CursorResult[Any], types: Sequence[pa.DataType] | None
) -> Iterator[pa.RecordBatch]:
    """Yield a cursor's rows, after a batch without any.

    Args:
        result: Of a query.
        types: Of its columns, a decimal one for what becomes a float; None if values tell them. A column that has
            none so far keeps the batches back until it has one.

    Raises:
        BadData: If a value isn't of its column's type.
    """
    import pyarrow as pa

    names = list(result.keys())
    known = list(types) if types is not None else [pa.null()] * len(names)
    before = 0
    waiting = [_batch(names, known, [[] for _ in names], 0)]
    while rows := result.fetchmany(CHUNK):
        columns = [list(column) for column in zip(*rows, strict=True)]
        if types is None:
            known = [
                _type_of(names[i], columns[i]) if pa.types.is_null(kind) else kind
                for i, kind in enumerate(known)
            ]
        waiting.append(_batch(names, known, columns, before))
        before += len(rows)
        if types is not None or not any(map(pa.types.is_null, known)):
            yield from (_typed(batch, known) for batch in waiting)
            waiting = []
    yield from (_typed(batch, known) for batch in waiting)


def _typed(batch: pa.RecordBatch, types: Sequence[pa.DataType]) -> pa.RecordBatch:
    """Return a batch whose columns without a value have the type that later ones have."""
    import pyarrow as pa

    arrays = [
        pa.nulls(batch.num_rows, pa.float64() if pa.types.is_decimal(kind) else kind)
        if pa.types.is_null(column.type)
        else column
        for column, kind in zip(batch.columns, types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _batch(
    names: list[str], types: list[pa.DataType], columns: list[list[Any]], before: int
) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = [_array(*column, before) for column in zip(names, types, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _array(name: str, kind: pa.DataType, values: list[Any], before: int) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_decimal(kind):
        written = [None if value is None else str(value) for value in values]
        return as_floats(pa.array(written, pa.string()), name, before)
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        for row, value in enumerate(values, before + 1):
            try:
                pa.array([value], kind)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                refuse_value(name, row, value, str(kind))
        raise


def _type_of(name: str, values: list[Any]) -> pa.DataType:
    """Return Arrow's type for values of a driver that tells none; decimal where they become floats."""
    import pyarrow as pa

    found = {type(value) for value in values if value is not None}
    if not found:
        return pa.null()
    is_aware = any(getattr(value, "tzinfo", None) for value in values)
    for kinds, kind in (
        ({bool}, pa.bool_()),
        ({int}, pa.int64()),
        ({int, float}, pa.float64()),
        ({int, float, Decimal}, pa.decimal128(38, 0)),
        ({str}, pa.string()),
        ({datetime.date}, pa.date32()),
        ({datetime.datetime}, pa.timestamp("us", "UTC" if is_aware else None)),
    ):
        if found <= kinds:
            return kind
    refuse_type(name, " and ".join(sorted(one.__name__ for one in found)))
    raise AssertionError
