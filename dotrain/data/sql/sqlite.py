"""What columns of SQLite hold: there each value has a type of its own, whatever the column was declared as.

A driver has to take some type for a column, and turns the others into it without a word: 1 becomes '1' in a column
where one row says 'unknown'. So what a query's columns hold is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from dotrain.data.exact import EXACT
from dotrain.data.source import BadData

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS: Final = ("integer", "real", "text", "blob")
#: SQLite takes 2,000 columns in a result; some are built for fewer.
_COLUMNS_AT_ONCE: Final = 100
_SHOWN: Final = 40

_Rows = Callable[[str], list[tuple[Any, ...]]]


def types_of(rows: _Rows, query: str, names: Sequence[str]) -> list[pa.DataType]:
    """Return the types of a query's columns, by looking at each value.

    Whole numbers beside others are floats, as long as these hold them.

    Args:
        rows: Asks the database.
        query: The query.
        names: Of its columns.

    Raises:
        BadData: If a column holds values of several types.
    """
    given = ", ".join(f"c{i}" for i in range(len(names)))
    table = f"WITH dotrain_rows({given}) AS (\n{query}\n) "
    types = []
    for first in range(0, len(names), _COLUMNS_AT_ONCE):
        some = range(first, min(first + _COLUMNS_AT_ONCE, len(names)))
        asked = [f"max(typeof(c{i}) = '{kind}')" for i in some for kind in _KINDS]
        (found,) = rows(f"{table}SELECT {', '.join(asked)} FROM dotrain_rows")
        for at, i in enumerate(some):
            flags = found[at * len(_KINDS) : (at + 1) * len(_KINDS)]
            held = [kind for kind, flag in zip(_KINDS, flags, strict=True) if flag]
            if held == ["integer", "real"]:
                _check_exact(rows, table, i, names[i])
            elif len(held) > 1:
                _refuse_mixed(rows, table, i, names[i])
            types.append(_type(held))
    return types


def holds(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a driver that looked at its first rows alone has come to the type that all have."""
    import pyarrow as pa

    return bool(given == wanted or pa.types.is_null(wanted))


def cast(batch: pa.RecordBatch, types: Sequence[pa.DataType]) -> pa.RecordBatch:
    """Return a batch with a column without values as one that has no type."""
    import pyarrow as pa

    arrays = [
        pa.nulls(batch.num_rows) if pa.types.is_null(kind) else column
        for column, kind in zip(batch.columns, types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _type(held: list[str]) -> pa.DataType:
    import pyarrow as pa

    if not held:
        return pa.null()
    types = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}
    return types[held[-1]]


def _check_exact(rows: _Rows, table: str, i: int, name: str) -> None:
    whole = f"SELECT min(c{i}), max(c{i}) FROM dotrain_rows WHERE typeof(c{i}) = 'integer'"
    ((least, most),) = rows(table + whole)
    if max(-least, most) > EXACT:
        value = most if most > EXACT else least
        raise BadData(
            f"column '{name}' holds whole numbers and others, and {value} has more digits than a float holds",
            "sql",
        )


def _refuse_mixed(rows: _Rows, table: str, i: int, name: str) -> NoReturn:
    numbered = f"(SELECT row_number() OVER () AS n, c{i} AS v FROM dotrain_rows)"
    kind = "CASE typeof(v) WHEN 'real' THEN 'integer' ELSE typeof(v) END"
    found = rows(
        f"{table}SELECT min(n), {kind}, typeof(v), substr(CAST(v AS TEXT), 1, {_SHOWN}) FROM {numbered} "
        f"WHERE v IS NOT NULL GROUP BY {kind} ORDER BY min(n) LIMIT 2"
    )
    (one, _, its_kind, its), (other, _, others_kind, others) = found
    raise BadData(
        f"column '{name}' holds values of several types: {its!r} ({its_kind}) in row {one}, {others!r} ({others_kind}) "
        f"in row {other}; SQLite keeps what it was given, so make them one: CAST({name} AS REAL) AS {name}, or AS TEXT, "
        f"or CASE WHEN typeof({name}) = '{its_kind}' THEN {name} END AS {name}",
        "sql",
    )
