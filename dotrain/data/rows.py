"""A table that is read while it is trained on, batch by batch: it may be larger than memory.

Of a table only the columns asked for are read. What takes memory is about a window of it (`windows.py`), and the batches that
are read ahead; of a file that is mapped into memory, the pages of a window, which the system can take back. A rank whose framework
asks for its own share of each batch reads that, and decodes the groups in which it lies; where ranks are given whole batches, and
lay their share on their devices, each reads all rows.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from dotrain.data.group_files import (
    FileChanged,
    GroupFile,
    as_batches,
    as_declared,
    open_groups,
)
from dotrain.data.groups import Group
from dotrain.data.source import BadData
from dotrain.data.windows import BYTES_OF_A_NUMBER, order_of, pieces_of
from dotrain.frameworks.rows import Order, Parts, Rows, Signature

if TYPE_CHECKING:
    import pyarrow

#: Encodes rows: arrays of as many rows, each as it would be alone, whichever rows are beside it; there may be none.
Encoder = Callable[["pyarrow.RecordBatch"], Parts]

#: Bytes of a window: what of a table is in memory at once, decoded, with all its columns.
WINDOW_BYTES = 128 * 2**20
#: How much is encoded at once, where batches are smaller: each time costs for each column.
_ROWS_AT_ONCE = 8192
_BYTES_AT_ONCE = 8 * 2**20


class _Piece(NamedTuple):
    """Neighbouring groups of a file that are read together."""

    file: GroupFile
    groups: Sequence[Group]
    size: int

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.groups)


class _Read(NamedTuple):
    """A piece that is in memory.

    Attributes:
        batches: Its rows.
        chosen: The numbers of those that were chosen; None for all.
    """

    batches: Sequence[Any]
    chosen: NDArray[np.intp] | None


@final
class TableRows(Rows):
    """Rows of a table that is stored in groups.

    An epoch's order is `windows.order_of`: a window of groups after the other. It follows from the table, all its columns,
    and `window_bytes`, whatever columns are read.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        columns: Sequence[str],
        encode: Encoder,
        *,
        chosen: NDArray[np.bool_] | None = None,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        """Read the footers of its files.

        Args:
            groups: Of the table, in their order: of Parquet or Arrow IPC files, or both.
            columns: Which are read, one at least, in the order in which `encode` gets them.
            encode: Makes arrays of rows.
            chosen: Says of each row of the table whether it is one of these; by default all are. It isn't copied, and
                may be mapped from a file.
            window_bytes: What may be in memory of the table at once, > 0; a group that is larger is a window of its own.

        Raises:
            BadData: If a file can't be read, has not the columns with the same types as the first one, or
                changed since the run began.
            ValueError: If an argument can't be.
        """
        if not groups or not columns:
            raise ValueError("a table of no groups or no columns has no rows that can be read")
        self._columns = tuple(columns)
        self._encode = encode
        self._window_bytes = window_bytes
        self._lock = threading.Lock()
        files: dict[str, GroupFile] = {}
        for group in groups:
            if group.file not in files:
                files[group.file] = open_groups(Path(group.file))
            group.check(files[group.file])
        #: What is read.
        self.files = list(files.values())
        self._schema = _common_schema(self.files, self._columns)
        self._pieces = list(_pieces(groups, files, window_bytes))
        self._starts = np.array([0, *accumulate(p.rows for p in self._pieces)], np.intp)
        self._chosen = chosen
        #: Where the rows of each piece that were chosen begin, and where the last one's end.
        self._bounds = self._starts
        if chosen is not None:
            if chosen.dtype != bool or chosen.shape != (self._starts[-1],):
                raise ValueError(
                    f"chosen: expected {self._starts[-1]} booleans, got {chosen.dtype}{list(chosen.shape)}"
                )
            counts = [np.count_nonzero(chosen[a:b]) for a, b in pairwise(self._starts)]
            self._bounds = np.array([0, *accumulate(counts)], np.intp)
        #: Pieces that are in memory; the last one was used last.
        self._read: OrderedDict[int, _Read] = OrderedDict()
        self._signature: Signature | None = None
        self._signature = self.signature
        row_bytes = sum(d.itemsize * int(np.prod(shape)) for d, shape in self._signature)
        self.rows_at_once = min(_ROWS_AT_ONCE, max(1, _BYTES_AT_ONCE // max(1, row_bytes)))

    def __len__(self) -> int:
        return int(self._bounds[-1])

    @property
    def signature(self) -> Signature:
        """The type and shape of a row of each part."""
        return self._signature or super().signature

    def order(self, seed: int | None, epoch: int) -> Order:
        """Return the order of an epoch's rows."""
        sizes = [piece.size for piece in self._pieces]
        return order_of(self._bounds, sizes, self._window_bytes, seed, epoch)

    def take(self, indices: NDArray[np.intp]) -> Parts:
        """Return rows by their numbers.

        Raises:
            IndexError: If there are no such rows.
            FileChanged: If a file is another than it was.
            BadData: If one can't be read.
            ValueError: If `encode` returns other rows than it got.
        """
        numbers = np.asarray(indices, np.intp)
        # In the order of the file pages are read once; back then into that which was asked for.
        places = np.argsort(numbers, kind="stable")
        numbers = numbers[places]
        if len(numbers) and not 0 <= numbers[0] <= numbers[-1] < len(self):
            raise IndexError(f"rows {numbers[0]} to {numbers[-1]} of a table of {len(self)}")
        with self._lock:
            found = self._encoded(list(self._taken(numbers)), len(numbers))
        back = np.empty_like(places)
        back[places] = np.arange(len(places))
        return tuple(part[back] for part in found)

    def forget(self) -> None:
        """Give back what is in memory."""
        import pyarrow as pa

        with self._lock:
            self._read.clear()
            for file in self.files:
                file.forget()
        pa.default_memory_pool().release_unused()

    def _taken(self, numbers: NDArray[np.intp]) -> Iterator[Any]:
        """Yield record batches of rows, whose numbers are sorted."""
        import pyarrow as pa

        ends = np.searchsorted(numbers, self._bounds).tolist()
        wanted = [(n, first, end) for n, (first, end) in enumerate(pairwise(ends)) if first < end]
        found: dict[int, list[Any]] = {}
        # What is in memory is used before it must make room.
        for piece, first, end in sorted(wanted, key=lambda one: one[0] not in self._read):
            read = self._read_piece(piece)
            own = numbers[first:end] - self._bounds[piece]
            if read.chosen is not None:
                own = read.chosen[own]
            begin, found[piece] = 0, []
            for batch in read.batches:
                here = own[(own >= begin) & (own < begin + batch.num_rows)] - begin
                if len(here):
                    found[piece].append(batch.take(pa.array(here)))
                begin += batch.num_rows
        for piece in sorted(found):
            yield from found[piece]

    def _read_piece(self, number: int) -> _Read:
        """Return a piece, having made room for it if it isn't in memory."""
        piece = self._pieces[number]
        if number in self._read:
            piece.file.check()
            self._read.move_to_end(number)
            return self._read[number]
        room = self._window_bytes - piece.size
        while self._read and sum(self._pieces[each].size for each in self._read) > room:
            gone, _ = self._read.popitem(last=False)
            self._pieces[gone].file.forget()
        batches = piece.file.read([group.index for group in piece.groups], self._columns)
        if sum(batch.num_rows for batch in batches) != piece.rows:
            raise FileChanged(f"{piece.file.path} has other groups of rows than it had")
        chosen = None
        if self._chosen is not None:
            chosen = np.flatnonzero(self._chosen[self._starts[number] : self._starts[number + 1]])
        read = self._read[number] = _Read(batches, chosen)
        return read

    def _encoded(self, batches: Sequence[Any], count: int) -> Parts:
        import pyarrow as pa

        arrays = [pa.array([], kind) for kind in self._schema.types]
        if batches:
            (whole,) = as_batches(pa.Table.from_batches(batches))
            arrays = list(map(as_declared, whole.columns, self._schema.types))
        parts = self._encode(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        told = tuple((part.dtype, part.shape[1:]) for part in parts)
        if any(len(part) != count for part in parts) or told != (self._signature or told):
            rows = ", ".join(f"{part.dtype}{list(part.shape)}" for part in parts)
            raise ValueError(
                f"the encoder has made {rows} of {count} rows; it promised {self._signature}"
            )
        return parts


def _common_schema(files: Sequence[GroupFile], columns: Sequence[str]) -> Any:
    """Return the types of columns, which are those of every file."""
    import pyarrow as pa

    first: Any = None
    for file in files:
        for name in columns:
            if file.schema.get_field_index(name) < 0:
                raise BadData(f"{file.path} has no column '{name}', or several of that name")
        own = pa.schema([pa.field(name, file.schema.field(name).type) for name in columns])
        first = first or own
        for one, other in zip(first, own, strict=True):
            if one.type != other.type:
                raise BadData(
                    f"{file.path}: column '{one.name}' is {other.type}, in {files[0].path} it is {one.type}"
                )
    return first


def _pieces(
    groups: Sequence[Group], files: Mapping[str, GroupFile], window_bytes: int
) -> Iterator[_Piece]:
    for name, of_file in groupby(groups, key=lambda group: group.file):
        own, file = list(of_file), files[name]
        sizes = [file.size(g.index, g.rows) + BYTES_OF_A_NUMBER * g.rows for g in own]
        for places in pieces_of(sizes, window_bytes):
            yield _Piece(file, [own[n] for n in places], sum(sizes[n] for n in places))
