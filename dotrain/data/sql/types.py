"""Which types of a database a table takes, and as what: the same whichever way it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dotrain.data.exact import floats
from dotrain.data.source import BadData

if TYPE_CHECKING:
    import pyarrow as pa

#: The days from year 1 to year 9999, since 1970; Postgres' 'infinity' and what overflows lie outside.
_FIRST_DAY, _LAST_DAY = -719162, 2932896
_SECONDS_OF_A_DAY: Final = 86400
_UNITS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def settled(batch: pa.RecordBatch, before: int) -> pa.RecordBatch:
    """Return a batch with the types that a table takes.

    Decimal numbers become the nearest floats, as from a file of text; the time zone of times is UTC; text and
    enumerations are strings.

    Args:
        batch: As a database's driver gives it.
        before: The rows before it.

    Raises:
        BadData: If a column's type is none of them, or a value can't be held.
    """
    import pyarrow as pa

    arrays = [
        _settled(batch.column(i), batch.schema.field(i), before) for i in range(batch.num_columns)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _settled(array: pa.Array, field: pa.Field, before: int) -> pa.Array:
    import pyarrow as pa

    kind = field.type
    if is_numeric(field):
        return as_floats(getattr(array, "storage", array), field.name, before)
    if pa.types.is_dictionary(kind) and is_text(kind.value_type):
        return array.cast(pa.string())
    if is_text(kind):
        return array if kind == pa.string() else array.cast(pa.string())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        _check_days(array, field.name, before)
        return array.cast(pa.timestamp(kind.unit, "UTC")) if getattr(kind, "tz", None) else array
    if pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return array
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return array
    refuse_type(field.name, str(getattr(kind, "type_name", "") or kind))
    raise AssertionError


def is_text(kind: pa.DataType) -> bool:
    """Whether Arrow holds text so."""
    import pyarrow as pa

    is_view = getattr(pa.types, "is_string_view", lambda _: False)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_view(kind))


def is_numeric(field: pa.Field) -> bool:
    """Whether it is a decimal number, which ADBC has as the text of one from Postgres."""
    import pyarrow as pa

    if pa.types.is_decimal(field.type):
        return True
    name = (field.metadata or {}).get(b"ADBC:postgresql:typname", b"")
    return name == b"numeric" or getattr(field.type, "type_name", "") == "numeric"


def as_floats(numbers: pa.Array, name: str, before: int) -> pa.Array:
    """Return decimal numbers as floats.

    Raises:
        BadData: If one has more digits than a float holds.
    """
    found, place = floats(numbers)
    if place is not None:
        raise BadData(
            f"column '{name}': {numbers[place].as_py()} in row {before + place + 1} has more digits than a float holds; "
            f"write CAST({name} AS TEXT), or AS DOUBLE PRECISION if its first 15 digits are enough",
            "sql",
        )
    return found


def refuse_type(name: str, kind: str) -> None:
    """Refuse a column of a type that a table doesn't take.

    Raises:
        BadData: Always.
    """
    raise BadData(
        f"column '{name}' is of the type {kind}, and a table holds numbers, true and false, text, dates and times; "
        f"leave it out, or write CAST({name} AS TEXT) AS {name}",
        "sql",
    )


def refuse_value(name: str, row: int, value: Any, wanted: str) -> None:
    """Refuse a value that isn't of its column's type.

    Raises:
        BadData: Always.
    """
    shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:37] + "..."
    raise BadData(f"column '{name}' is of the type {wanted}, and row {row} has {shown}", "sql")


def _check_days(array: pa.Array, name: str, before: int) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_timestamp(kind):
        scale = _SECONDS_OF_A_DAY * _UNITS[kind.unit]
        numbers = array.cast(pa.int64())
    else:
        scale = 1 if pa.types.is_date32(kind) else _SECONDS_OF_A_DAY * 1000
        numbers = array.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64()).cast(
            pa.int64()
        )
    first, last = _FIRST_DAY * scale, (_LAST_DAY + 1) * scale
    if last > 2**63:
        return
    outside = pc.or_(pc.less(numbers, first), pc.greater_equal(numbers, last)).fill_null(False)
    rows = pc.indices_nonzero(outside)
    if len(rows):
        raise BadData(
            f"column '{name}' has in row {before + rows[0].as_py() + 1} a date that lies not between the years 1 and "
            "9999, such as 'infinity'; write NULL for these",
            "sql",
        )
