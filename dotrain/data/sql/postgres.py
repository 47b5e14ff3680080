"""Types of PostgreSQL that a table takes: the same by ADBC and by a cursor.

ADBC has more of them, but not as what they are: 5.00 of `money` is the whole number 500 there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotrain.data.sql.types import refuse_type

if TYPE_CHECKING:
    import pyarrow as pa


def types() -> dict[str, tuple[int, pa.DataType]]:
    """Return them by their names, with the numbers that the server has for them; decimals become floats."""
    import pyarrow as pa

    return {
        "bool": (16, pa.bool_()),
        "int2": (21, pa.int16()),
        "int4": (23, pa.int32()),
        "int8": (20, pa.int64()),
        "float4": (700, pa.float32()),
        "float8": (701, pa.float64()),
        "numeric": (1700, pa.decimal128(38, 0)),
        "text": (25, pa.string()),
        "varchar": (1043, pa.string()),
        "bpchar": (1042, pa.string()),
        "name": (19, pa.string()),
        "date": (1082, pa.date32()),
        "timestamp": (1114, pa.timestamp("us")),
        "timestamptz": (1184, pa.timestamp("us", "UTC")),
    }


def check_types(schema: pa.Schema) -> None:
    """Refuse what a table doesn't take of what ADBC gives.

    Raises:
        BadData: With the column and its type.
    """
    for field in schema:
        found = (field.metadata or {}).get(b"POSTGRESQL:type", b"numeric").decode()
        if found not in types():
            refuse_type(field.name, found)
