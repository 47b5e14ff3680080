"""The file of entities: whose features are wanted, as of when, and what is to be predicted of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from dotrain.data.source import BadData

#: The column that says when each row's event was.
EVENT_TIME: Final = "event_timestamp"
_KEY: Final = ("feast", "entities")


def header_of(file: Path) -> dict[str, str]:
    """Return the columns of the file, and Arrow's words for their types.

    Raises:
        BadData: If it isn't there, or can't be read.
    """
    return {field.name: str(field.type) for field in _schema(file)}


def _schema(file: Path) -> Any:
    import pyarrow
    from pyarrow import csv, parquet

    try:
        if _is_parquet(file):
            return parquet.read_schema(file)
        with csv.open_csv(file) as reader:
            return reader.schema
    except FileNotFoundError:
        raise BadData(f"no file {file}", *_KEY) from None
    except (OSError, pyarrow.ArrowException) as error:
        raise BadData(f"{file} can't be read: {error}", *_KEY) from None


def _is_parquet(file: Path) -> bool:
    if file.suffix.lower() not in (".csv", ".parquet"):
        raise BadData(f"{file}: expected a file that ends in .csv or .parquet", *_KEY)
    return file.suffix.lower() == ".parquet"


def read_entities(file: Path) -> Any:
    """Return the whole file as a table of Arrow's.

    Raises:
        BadData: If it isn't there, can't be read, or has no rows.
    """
    import pyarrow
    from pyarrow import csv, parquet

    try:
        table = parquet.ParquetFile(file).read() if _is_parquet(file) else csv.read_csv(file)
    except FileNotFoundError:
        raise BadData(f"no file {file}", *_KEY) from None
    except (OSError, pyarrow.ArrowException) as error:
        raise BadData(f"{file} can't be read: {error}", *_KEY) from None
    if not table.num_rows:
        raise BadData(f"{file} has no rows: nobody's features are asked for", *_KEY)
    return table
