"""Where rows lie: row groups of Parquet files, record batches of tables of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

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
            BadData: If the file can't be read, or has changed since.
        """
        import pyarrow as pa

        try:
            table = _reader(self.file, tuple(columns))(self.index)
        except (OSError, pa.ArrowException) as error:
            raise BadData(f"{self.file} can't be read any more: {error}") from None
        if table.num_rows != self.rows:
            raise BadData(f"{self.file} has changed: {table.num_rows} rows where {self.rows} were")
        return table.select([*columns]).replace_schema_metadata(None)


def groups_of(file: Path) -> list[Group]:
    """Return the groups of a file.

    Raises:
        BadData: If it can't be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix.lower() == ".parquet":
            footer = pq.read_metadata(file)
            sizes = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
        else:
            with pa.memory_map(str(file)) as opened:
                reader = pa.ipc.open_file(opened)
                sizes = [
                    reader.get_batch(index).num_rows for index in range(reader.num_record_batches)
                ]
    except (OSError, pa.ArrowException) as error:
        raise BadData(f"{file} can't be read: {error}", "file") from None
    return [Group(str(file), index, rows) for index, rows in enumerate(sizes)]


@lru_cache(maxsize=8)
def _reader(file: str, columns: tuple[str, ...]) -> Any:
    """Return a function from the index of a group to a table of its columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if Path(file).suffix.lower() == ".parquet":
        opened = pq.ParquetFile(file)
        return lambda index: opened.read_row_group(index, columns=[*columns])
    mapped = pa.memory_map(file)
    names = pa.ipc.open_file(mapped).schema.names
    options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
    reader = pa.ipc.open_file(mapped, options=options)
    return lambda index: pa.Table.from_batches([reader.get_batch(index)])
