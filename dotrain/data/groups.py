"""Where rows lie: row groups of Parquet files, record batches of tables of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotrain.data.group_files import FileChanged, GroupFile, Place, as_declared, opened_now
from dotrain.data.source import BadData


@dataclass(frozen=True)
class Group:
    """Rows that are stored together.

    Attributes:
        file: Where: a Parquet file, or an Arrow IPC file (``.arrow``), which is mapped into memory.
        index: Which group of that file.
        rows: How many rows it has.
        stamp: What the file is known again by, of `GroupFile.stamp`; ``""`` for whatever is there.
        place: Where the file lay; one that has travelled is known by its stamp alone.
    """

    file: str
    index: int
    rows: int
    stamp: str = ""
    place: Place | None = field(default=None, compare=False)

    def check(self, file: GroupFile) -> None:
        """Return if a file is the one that the group is of.

        Raises:
            FileChanged: If it isn't.
        """
        place, found = self.place, file.place
        lies = place and found and (place.host, place.path) == (found.host, found.path)
        is_other = self.stamp not in ("", file.stamp) or (lies and place != found)
        if is_other or self.index >= len(file):
            raise FileChanged(
                f"{self.file} is not the file that the run began with, or was written since: put that back, and resume "
                "the run, which compares what is in it; or begin a new run"
            )

    def read(self, columns: Sequence[str]) -> Any:
        """Return some of its columns as an Arrow table; of others nothing is read.

        Raises:
            BadData: If the file can't be read, or is another than it was.
        """
        import pyarrow as pa

        file = opened_now(Path(self.file))
        self.check(file)
        schema = pa.schema([pa.field(name, file.schema.field(name).type) for name in columns])
        found = pa.Table.from_batches([], schema)
        if batches := file.read([self.index], columns):
            read = pa.Table.from_batches(batches).combine_chunks()
            arrays = [
                as_declared(c.chunk(0), t) for c, t in zip(read.columns, schema.types, strict=True)
            ]
            found = pa.Table.from_arrays(arrays, schema=schema)
        if found.num_rows != self.rows:
            raise BadData(f"{self.file} has changed: {found.num_rows} rows where {self.rows} were")
        return found


def groups_of(file: Path) -> list[Group]:
    """Return the groups of a file.

    Raises:
        BadData: If it can't be read.
    """
    opened = opened_now(file)
    rows = map(opened.rows, range(len(opened)))
    told = opened.stamp, opened.place
    found = [Group(str(file), index, count, *told) for index, count in enumerate(rows)]
    opened.forget()
    return found
