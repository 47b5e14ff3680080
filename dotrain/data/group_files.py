"""Files whose rows are stored in groups: Parquet's row groups, and record batches of Arrow IPC (Feather) files.

Of a group only the columns are read that are asked for. `pyarrow` is imported when a file is opened.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, final

from dotrain.data.source import BadData

#: What Parquet's physical types take in memory; texts have no width, and others say theirs.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8}
#: What it takes to say where a text, a list or the like begins.
_OFFSET = 8


class FileChanged(BadData):
    """A file is another than it was: what would be read is not what the run is about."""


@dataclass(frozen=True)
class Place:
    """What tells, where a file lies, that it isn't another one; elsewhere it tells nothing.

    Attributes:
        host: The machine: file systems may show another state on each.
        path: Where it lies there.
        state: When it was written, in ns, and its number on that disk.
    """

    host: str
    path: str
    state: tuple[int, int]


class GroupFile(ABC):
    """A file whose groups can be read; its footer is read when it is made.

    Attributes:
        schema: The `pyarrow.Schema` of its columns.
    """

    #: The first bytes of such a file.
    magic: ClassVar[bytes]
    #: How many bytes stand behind its footer, of which four say how long that is.
    tail: ClassVar[int]

    schema: Any

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = _state_of(path)
        with path.open("rb") as file:
            file.seek(-self.tail, os.SEEK_END)
            (length,) = struct.unpack("<i", file.read(4))
            file.seek(-self.tail - length, os.SEEK_END)
            self._footer = file.read(length)

    @cached_property
    def stamp(self) -> str:
        """What it is known again by, on whichever machine and at no cost: its size, and its footer.

        Of Parquet that says what values columns have, from the least to the largest, and how many bytes each takes; of an Arrow
        file only the latter: ours are known by their names, which are digests of their content.
        """
        size, *_ = self._seen
        return f"{size}-{hashlib.sha256(self._footer).hexdigest()[:32]}"

    @property
    def place(self) -> Place | None:
        """Where it lies and since when, if it is one of the user's, which may be written anew with the same stamp."""
        return None

    def check(self) -> None:
        """Return if it is still the file that was opened.

        Raises:
            FileChanged: If it isn't.
        """
        if _state_of(self.path) != self._seen:
            raise FileChanged(
                f"{self.path} has changed since it was opened, so that its rows would be mixed with those of another: "
                "leave data alone while a run trains on them; put it back, or begin a new run"
            )

    @abstractmethod
    def __len__(self) -> int:
        """How many groups it has."""

    @abstractmethod
    def rows(self, group: int) -> int:
        """How many rows a group has."""

    @abstractmethod
    def size(self, group: int, rows: int) -> int:
        """About how many bytes a group takes in memory with all its columns, as its footer tells."""

    def read(self, groups: Sequence[int], columns: Sequence[str]) -> Sequence[Any]:
        """Return the rows of groups as record batches, with some of the columns; nothing of others is read.

        Texts may come as numbers of a dictionary: `as_declared` turns them back.

        Raises:
            FileChanged: If it isn't the file any more that was opened.
            BadData: If it can't be read.
        """
        import pyarrow as pa

        self.check()
        try:
            found = self._read(groups, columns)
        except (OSError, pa.ArrowException) as error:
            self.check()
            raise BadData(f"{self.path} can't be read: {error}") from None
        self.check()
        return found

    @abstractmethod
    def _read(self, groups: Sequence[int], columns: Sequence[str]) -> Sequence[Any]: ...

    def forget(self) -> None:  # noqa: B027
        """Give memory back that can be read again."""


def open_groups(path: Path) -> GroupFile:
    """Open a file by what it begins with, whatever its name.

    Raises:
        BadData: If it isn't there, or isn't such a file.
    """
    import pyarrow as pa

    kinds: tuple[type[GroupFile], ...] = (ParquetGroups, ArrowGroups)
    try:
        with path.open("rb") as file:
            begin = file.read(6)
        for kind in kinds:
            if begin.startswith(kind.magic):
                return kind(path)
    except (OSError, ValueError, struct.error, pa.ArrowException) as error:
        raise BadData(f"{path} can't be read: {error}") from None
    raise BadData(f"{path}: expected a Parquet file, or one of Arrow IPC (Feather)")


def opened_now(path: Path) -> GroupFile:
    """Return a file as it is now: one that was opened before, if it hasn't changed.

    Raises:
        BadData: As of `open_groups`.
    """
    return _opened(path, _state_of(path))


@lru_cache(maxsize=8)
def _opened(path: Path, state: object) -> GroupFile:
    return open_groups(path)


def _state_of(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise FileChanged(f"{path} can't be read: {error.strerror}") from None
    return found.st_size, found.st_mtime_ns, found.st_ino


@final
class ParquetGroups(GroupFile):
    """A Parquet file. Its texts stay numbers of a dictionary, as most are stored, until rows are taken."""

    magic = b"PAR1"
    tail = 8

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(path)
        self._metadata = pq.read_metadata(path)
        self.schema = self._metadata.schema.to_arrow_schema()
        texts = {pa.string(), pa.large_string(), pa.binary(), pa.large_binary()}
        self._texts = [field.name for field in self.schema if field.type in texts]
        leaves = map(self._metadata.schema.column, range(self._metadata.num_columns))
        self._width = 0
        #: Leaves of which a row may hold any number, and texts, with the widths of what they hold.
        self._others: list[tuple[int, int]] = []
        for place, leaf in enumerate(leaves):
            width = _WIDTHS.get(leaf.physical_type) or max(leaf.length or 0, 0)
            if width and not leaf.max_repetition_level:
                self._width += width
            else:
                self._others.append((place, width))

    @property
    def place(self) -> Place:
        """Parquet files aren't ours: these are stored as Arrow files."""
        return Place(socket.gethostname(), str(self.path), self._seen[1:])

    def __len__(self) -> int:
        return int(self._metadata.num_row_groups)

    def rows(self, group: int) -> int:
        """As the footer tells."""
        return int(self._metadata.row_group(group).num_rows)

    def size(self, group: int, rows: int) -> int:
        """By the widths of types; of texts, what is stored before it is compressed."""
        size = self._width * rows
        own = self._metadata.row_group(group)
        for chunk, width in ((own.column(place), width) for place, width in self._others):
            size += (width + _OFFSET) * chunk.num_values
            size += 0 if width else chunk.total_uncompressed_size
        return int(size)

    def _read(self, groups: Sequence[int], columns: Sequence[str]) -> Sequence[Any]:
        import pyarrow.parquet as pq

        # Buffered ahead, small columns would be read with the bytes of those between them.
        with (
            self.path.open("rb") as bytes_of,
            pq.ParquetFile(
                bytes_of, metadata=self._metadata, pre_buffer=False, read_dictionary=self._texts
            ) as file,
        ):
            table = file.read_row_groups(list(groups), columns=list(columns))
        return as_batches(table.select(list(columns)))


@final
class ArrowGroups(GroupFile):
    """An Arrow IPC file, mapped into memory: what isn't compressed is read where rows are taken, page by page.

    Attributes:
        mapped: The file's bytes.
    """

    magic = b"ARROW1"
    tail = 10

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with path.open("rb") as file:
            self.mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._bodies = list(_bodies(self._footer))
        self._readers: dict[tuple[int, ...], Any] = {}
        self.schema = self._reader(()).schema
        self._width, self._are_fixed = 0, True
        for field in self.schema:
            try:
                self._width += -(-field.type.bit_width // 8)
            except ValueError:  # it has none
                self._are_fixed = False

    def _reader(self, columns: tuple[int, ...]) -> Any:
        """Return what reads some columns, by their numbers in order; none means all."""
        import pyarrow as pa

        if columns not in self._readers:
            options = pa.ipc.IpcReadOptions(included_fields=list(columns))
            self._readers[columns] = pa.ipc.open_file(pa.py_buffer(self.mapped), options=options)
        return self._readers[columns]

    def __len__(self) -> int:
        return len(self._bodies)

    def rows(self, group: int) -> int:
        """As its description tells; of what is compressed one column is read."""
        columns = (0,) if len(self.schema) else ()
        return int(self._reader(columns).get_batch(group).num_rows)

    def size(self, group: int, rows: int) -> int:
        """By the widths of types, and if some have none, by what is stored."""
        return self._width * rows + (0 if self._are_fixed else self._bodies[group])

    def _read(self, groups: Sequence[int], columns: Sequence[str]) -> Sequence[Any]:
        reader = self._reader(tuple(sorted(map(self.schema.get_field_index, columns))))
        return [reader.get_batch(group).select(list(columns)) for group in groups]

    def forget(self) -> None:
        """Let go of the pages that were read; the system may still have them."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.mapped.madvise(mmap.MADV_DONTNEED)


def as_batches(table: Any) -> list[Any]:
    """Return a table as record batches, as few as can be: one, unless it has no rows or very long texts."""
    import pyarrow as pa

    if any(pa.types.is_dictionary(kind) for kind in table.schema.types):
        table = table.unify_dictionaries()
    return list(table.combine_chunks().to_batches())


def as_declared(column: Any, kind: Any) -> Any:
    """Return a column in the type that its file declares, which may have come as numbers of a dictionary."""
    return column if column.type == kind else column.dictionary_decode().cast(kind)


def _bodies(footer: bytes) -> Iterator[int]:
    """Yield how many bytes each record batch has, as an Arrow file's footer tells.

    The footer is a FlatBuffers table, whose fourth field is a vector of blocks of 24 bytes: where a batch begins
    (8), how long its description is (4, and 4 unused), and how long its body (8). `pyarrow` doesn't tell of them.
    """
    (table,) = struct.unpack_from("<I", footer)
    fields = table - struct.unpack_from("<i", footer, table)[0]
    size, _, *places = struct.unpack_from("<6H", footer, fields)
    if size < 12 or not (place := places[3]):
        return
    vector = table + place
    vector += struct.unpack_from("<I", footer, vector)[0]
    (count,) = struct.unpack_from("<I", footer, vector)
    for number in range(count):
        yield struct.unpack_from("<q", footer, vector + 4 + 24 * number + 16)[0]
