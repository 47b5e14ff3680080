"""Where rows lie: row groups of Parquet files, record batches of tables of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dotrain.data.group_files import GroupFile, open_groups
from dotrain.data.source import BadData


@dataclass(frozen=True)
class Group:
    """Rows that are stored together.

    Attributes:
        file: Where: a Parquet file, or an Arrow IPC file (``.arrow``), which is mapped into memory.
        index: Which group of that file.
        rows: How many rows it has.
    """

    file: str
    index: int
    rows: int

    def read(self, columns: Sequence[str]) -> Any:
        """Return some of its columns as an Arrow table; of others nothing is read.

        Raises:
            BadData: If the file can't be read, or has changed since it was first read here.
        """
        import pyarrow as pa

        file = opened(self.file)
        file.check()
        try:
            table = pa.Table.from_batches(file.read([self.index], columns))
        except (OSError, pa.ArrowException) as error:
            file.check()
            raise BadData(f"{self.file} can't be read any more: {error}") from None
        if table.num_rows != self.rows:
            raise BadData(f"{self.file} has changed: {table.num_rows} rows where {self.rows} were")
        fields = [file.schema.field(name) for name in columns]
        declared = pa.schema([pa.field(field.name, field.type) for field in fields])
        return table.cast(declared)


@lru_cache(maxsize=8)
def opened(file: str) -> GroupFile:
    """Return a file, opened once for this process.

    Raises:
        BadData: If it can't be read.
    """
    return open_groups(Path(file))


def groups_of(file: Path) -> list[Group]:
    """Return the groups of a file, as it is now.

    Raises:
        BadData: If it can't be read.
    """
    opened.cache_clear()
    found = open_groups(file)
    return [Group(str(file), index, found.rows(index)) for index in range(len(found))]
