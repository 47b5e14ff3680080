"""The file of entities: whose features are wanted, as of when, and what is to be predicted of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from dotrain.data.files import FileSource
from dotrain.data.source import BadData

#: The column that says when each row's event was.
EVENT_TIME: Final = "event_timestamp"
KEY: Final = ("feast", "entities")


def header_of(file: FileSource) -> Mapping[str, str] | None:
    """Return the columns of the file, and Arrow's words for their types, "" where only reading tells.

    Returns:
        None if it isn't on this machine.

    Raises:
        BadData: If it isn't there, or can't be read.
    """
    with _told():
        found = file.declared()
    return None if found is None else {column.name: column.type for column in found}


def read_entities(file: FileSource) -> Any:
    """Return the whole file as a table of Arrow's.

    Raises:
        BadData: If it isn't there, can't be read, or has no rows.
    """
    import pyarrow as pa

    with _told():
        batches = [*file.batches()]
    if not sum(batch.num_rows for batch in batches):
        raise BadData(f"{file.text} has no rows: nobody's features are asked for", *KEY)
    return pa.Table.from_batches(batches)


@contextmanager
def _told() -> Iterator[None]:
    """Tell what is wrong with a file at the key that names this one."""
    try:
        yield
    except BadData as error:
        raise BadData(str(error), *KEY) from None
