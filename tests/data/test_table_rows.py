"""A table that is read by batches gives what it holds, in an order that follows from it, and reads what is asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dotrain.data import table as table_module
from dotrain.data.declared import Declared
from dotrain.data.files import FileSource
from dotrain.data.group_files import FileChanged
from dotrain.data.groups import Group, groups_of
from dotrain.data.preparing import prepare
from dotrain.data.rows import TableRows
from dotrain.data.source import BadData
from dotrain.data.windows import PIECES_OF_A_WINDOW, order_of, pieces_of, windows_of
from dotrain.frameworks.base import epoch_order
from dotrain.frameworks.none import NoFramework
from dotrain.frameworks.rows import BatchOrder, Cut, read

ROWS, GROUP = 1000, 100
NAMES = ("number", "word", "whole", "kind", "list", "left_out", "label")


def table(rows: int = ROWS, first: int = 0) -> pa.Table:
    numbers = np.arange(first, first + rows)
    words = pa.array([None if n % 7 == 0 else f"word {n % 40}" for n in numbers])
    return pa.table(
        {
            "number": pa.array(numbers / 3, pa.float32(), mask=numbers % 5 == 0),
            "word": words,
            "whole": pa.array(numbers, pa.int64()),
            "kind": words.fill_null("none").dictionary_encode(),
            "list": pa.array([[n, 2 * n] for n in numbers.tolist()], pa.list_(pa.int32())),
            "left_out": pa.array(numbers, pa.float32()),
            "label": pa.array(numbers % 2 == 1),
        }
    )


def encode(batch: pa.RecordBatch) -> tuple[NDArray[Any], ...]:
    """A row as it is, whichever other rows are beside it."""
    told = [str(row).encode() for row in batch.to_pylist()]
    numbers = batch.column("whole").to_numpy() if "whole" in batch.schema.names else []
    return np.array(told, "S200"), np.asarray(numbers)


def written(folder: Path, how: str, whole: pa.Table | None = None) -> list[Group]:
    """Write a table in groups of 100 rows, in one file or in three."""
    whole = table() if whole is None else whole
    if how == "parquet":
        file = folder / "table.parquet"
        pq.write_table(whole, file, row_group_size=GROUP)
        return groups_of(file)
    if how == "files":
        found = []
        for number, (first, rows) in enumerate([(0, 300), (300, 50), (350, 650)]):
            pq.write_table(
                whole.slice(first, rows), folder / f"{number}.parquet", row_group_size=GROUP
            )
            found += groups_of(folder / f"{number}.parquet")
        return found
    file = folder / "table.arrow"
    pyarrow.feather.write_feather(
        whole, file, compression="lz4" if how == "lz4" else "uncompressed", chunksize=GROUP
    )
    return groups_of(file)


def rows_of(groups: Sequence[Group], columns: Sequence[str] = NAMES, **more: Any) -> TableRows:
    return TableRows(groups, columns, encode, **more)


@pytest.mark.parametrize("how", ["parquet", "files", "arrow", "lz4"])
def test_any_rows_are_taken_as_they_are(tmp_path: Path, how: str) -> None:
    """Whatever is in memory already, with little room or much, of all rows or of some."""
    whole = table()
    expected = encode(whole.combine_chunks().to_batches()[0])[0]
    draws = np.random.RandomState(1)
    mask = draws.random_sample(ROWS) < 0.4
    groups = written(tmp_path, how)
    for window_bytes in (1, 20_000, 2**30):
        for chosen in (None, mask):
            rows = rows_of(groups, chosen=chosen, window_bytes=window_bytes)
            numbers = np.arange(ROWS) if chosen is None else np.flatnonzero(chosen)
            assert len(rows) == len(numbers)
            for count in (0, 1, 60):
                indices = draws.randint(0, len(rows), size=count)
                told, found = rows.take(indices)
                assert found.tolist() == numbers[indices].tolist()
                assert (told == expected[numbers[indices]]).all()
    columns = ("whole", "word")
    told, _ = rows_of(groups, columns).take(np.array([8, 7]))
    assert told.tolist() == [
        str({"whole": 8, "word": "word 8"}).encode(),
        str({"whole": 7, "word": None}).encode(),
    ]
    with pytest.raises(IndexError):
        rows.take(np.array([len(rows)]))


@pytest.mark.parametrize("how", ["parquet", "files", "arrow"])
def test_an_epoch_is_the_same_whatever_is_left_out_and_has_each_row_once(
    tmp_path: Path, how: str
) -> None:
    groups = written(tmp_path, how)
    mask = np.arange(ROWS) % 3 > 0
    for chosen in (None, mask):
        more: dict[str, Any] = {"chosen": chosen, "window_bytes": 20_000}
        one, other = rows_of(groups, **more), rows_of(groups, ["whole"], **more)
        orders = [one.order(5, epoch)[:].tolist() for epoch in range(3)]
        assert orders == [other.order(5, epoch)[:].tolist() for epoch in range(3)]
        assert orders[0] != orders[1] != orders[2]
        assert all(sorted(order) == list(range(len(one))) for order in orders)
        assert one.order(None, 1)[:].tolist() == list(range(len(one)))
        # As batches, too.
        numbers = np.flatnonzero(mask if chosen is not None else np.ones(ROWS))
        for at, (_, found) in enumerate(NoFramework().batches(other, 32, 5, 1)):
            batch = orders[1][32 * at : 32 * at + 32]
            assert sorted(found.tolist()) == sorted(numbers[batch].tolist())


def test_ranks_read_groups_of_their_own(tmp_path: Path) -> None:
    """Together the batches of one process; each rank decodes few of the groups of a window."""
    groups = written(tmp_path, "parquet", table(8 * ROWS))
    whole = rows_of(groups, ["whole"], window_bytes=400_000)
    cut = Cut(whole, 256, 5, 1)
    assert isinstance(whole.order(5, 1), BatchOrder)
    decoded = []
    parts = []
    for rank in range(4):
        rows = rows_of(groups, ["whole"], window_bytes=400_000)
        file, own = rows.files[0], set[int]()
        reads = file.read
        file.read = lambda groups, names, o=own, r=reads: (o.update(groups), r(groups, names))[1]  # type: ignore
        shares = (batch[len(batch) * rank // 4 : len(batch) * (rank + 1) // 4] for batch in cut)
        parts.append([numbers.tolist() for _, numbers in read(rows, shares)])
        decoded.append(len(own))
    for at, (_, numbers) in enumerate(read(whole, cut)):
        assert [n for part in parts for n in part[at]] == numbers.tolist()
    assert sum(decoded) < 2 * len(groups), "not each rank all of them"


def test_what_fits_into_one_window_is_shuffled_as_arrays_are(tmp_path: Path) -> None:
    rows = rows_of(written(tmp_path, "parquet"))
    assert np.asarray(rows.order(3, 2)).tolist() == epoch_order(ROWS, 3, 2).tolist()


SIZES = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 50)), min_size=1, max_size=12)


@given(SIZES, st.integers(1, 120), st.integers(0, 3), st.integers(0, 3), st.data())
def test_the_order_of_windows(
    pieces: list[tuple[int, int]], most: int, seed: int, epoch: int, data: Any
) -> None:
    counts, sizes = zip(*pieces, strict=True)
    bounds = np.cumsum([0, *counts])
    order = order_of(bounds, sizes, most, seed, epoch)
    whole = np.asarray(order[:])
    assert len(order) == sum(counts)
    assert sorted(whole.tolist()) == list(range(sum(counts)))
    first, end = sorted(data.draw(st.tuples(*[st.integers(0, sum(counts) + 2)] * 2)))
    assert order[first:end].tolist() == whole[first:end].tolist()
    if isinstance(order, BatchOrder):
        batch = order.batch(first, min(end, len(order)))
        assert sorted(batch.tolist()) == sorted(whole[first:end].tolist())
    # Of a window at most so many bytes are in memory, but for pieces that are larger by themselves.
    piece_of = np.repeat(np.arange(len(counts)), counts)
    shuffled = np.random.RandomState(0).permutation(len(sizes)).tolist()
    windows = windows_of(shuffled, sizes, most)
    assert [piece for window in windows for piece in window] == shuffled
    assert all(len(w) == 1 or sum(sizes[p] for p in w) <= most for w in windows)
    pieces_read = [int(piece) for piece in piece_of[whole]]
    if sum(sizes) > most:
        last = {piece: place for place, piece in enumerate(pieces_read)}
        begun = {piece: place for place, piece in reversed([*enumerate(pieces_read)])}
        for place in range(len(pieces_read)):
            open_now = [p for p in last if begun[p] <= place <= last[p]]
            assert len(open_now) == 1 or sum(sizes[p] for p in open_now) <= most


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(1, 200))
def test_small_groups_are_read_together(sizes: list[int], most: int) -> None:
    pieces = pieces_of(sizes, most)
    assert [place for piece in pieces for place in piece] == list(range(len(sizes)))
    assert all(
        len(p) == 1 or sum(sizes[n] for n in p) <= most // PIECES_OF_A_WINDOW for p in pieces
    )


def test_each_group_is_decoded_once_an_epoch_and_of_no_column_that_is_left_out_a_byte_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = written(tmp_path, "parquet")
    seen: list[tuple[int, int]] = []
    opened = Path.open

    def counting(path: Path, *args: Any, **kwargs: Any) -> Any:
        file = opened(path, *args, **kwargs)
        reads = file.read

        class Counting:
            def __getattr__(self, name: str) -> Any:
                return getattr(file, name)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *error: object) -> None:
                file.close()

            def read(self, size: int = -1) -> Any:
                begin = file.tell()
                found = reads(size)
                seen.append((begin, begin + len(found)))
                return found

        return Counting() if args == ("rb",) and path.suffix == ".parquet" else file

    rows = rows_of(groups, ["whole", "word", "label"], window_bytes=30_000)
    monkeypatch.setattr(Path, "open", counting)
    assert sum(len(whole) for _, whole in NoFramework().batches(rows, 16, 1, 0)) == ROWS
    footer = pq.read_metadata(tmp_path / "table.parquet")
    for index in range(footer.num_row_groups):
        for place in range(footer.num_columns):
            chunk = footer.row_group(index).column(place)
            begin = chunk.dictionary_page_offset or chunk.data_page_offset
            end = begin + chunk.total_compressed_size
            touching = [max(0, min(end, b) - max(begin, a)) for a, b in seen]
            is_asked = chunk.path_in_schema in ("whole", "word", "label")
            assert sum(touching) == (end - begin if is_asked else 0), chunk.path_in_schema


UNREADABLE = """
import ctypes, mmap, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from dotrain.data import group_files, rows
from dotrain.data.groups import groups_of
file, columns = Path(sys.argv[1]), sys.argv[2].split(",")
def encode(batch):
    return tuple(np.asarray(column) for column in batch.columns)
table = rows.TableRows(groups_of(file), columns, encode, window_bytes=2**20)
mapped = table.files[0].mapped
libc, page, pages = ctypes.CDLL(None, use_errno=True), mmap.PAGESIZE, 0
whole = pa.ipc.open_file(pa.py_buffer(mapped))
for index in range(whole.num_record_batches):
    for buffer in whole.get_batch(index).column("left_out").buffers():
        if buffer is not None:
            first = -(-buffer.address // page) * page
            size = (buffer.address + buffer.size) // page * page - first
            assert not libc.mprotect(ctypes.c_void_p(first), ctypes.c_size_t(size), 0)
            pages += size // page
assert pages >= 100, pages
order = table.order(1, 0)
for first in range(0, len(order), 1000):
    table.take(order[first : first + 1000])
print("read all of", len(order), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="pages are protected as Linux does it")
def test_no_page_of_a_column_that_is_left_out_is_touched(tmp_path: Path) -> None:
    """Its pages are made unreadable: who touches one is killed."""
    numbers = np.arange(200_000)
    file = tmp_path / "table.arrow"
    columns = {name: pa.array(numbers, pa.float32()) for name in ("a", "left_out", "b")}
    pyarrow.feather.write_feather(
        pa.table(columns), file, compression="uncompressed", chunksize=2**16
    )
    done = {}
    for names in ("a,b", "a,left_out"):
        command = [sys.executable, "-c", UNREADABLE, str(file), names]
        done[names] = subprocess.run(command, capture_output=True, text=True)
    assert done["a,b"].returncode == 0, done["a,b"].stderr
    assert "read all of 200000" in done["a,b"].stdout
    assert done["a,left_out"].returncode == -signal.SIGSEGV


def test_nothing_of_a_table_is_in_memory_when_an_epoch_is_over(tmp_path: Path) -> None:
    rows = rows_of(written(tmp_path, "parquet"), ["whole", "word"])
    before = pa.total_allocated_bytes()
    batches = iter(NoFramework().batches(rows, 100, 1, 0))
    next(batches)
    assert pa.total_allocated_bytes() > before
    assert len(list(batches)) == 9
    # Arrow's threads let go of what they have decoded a moment later; what is kept, keeps the test here until its time is up.
    while pa.total_allocated_bytes() > before:
        os.sched_yield()


def test_what_is_mapped_is_given_back_window_by_window(tmp_path: Path) -> None:
    numbers = np.arange(400_000)
    file = tmp_path / "table.arrow"
    whole = pa.table({name: pa.array(numbers, pa.float64()) for name in "abcd"})
    pyarrow.feather.write_feather(whole, file, compression="uncompressed", chunksize=2**12)
    rows = TableRows(groups_of(file), "abcd", lambda b: (b["a"].to_numpy(),), window_bytes=2**20)
    most = 0
    for number, _ in enumerate(NoFramework().batches(rows, 4096, 1, 0)):
        if number % 8 == 0:
            most = max(most, resident_bytes(file))
    assert 0 < most < 4 * 2**20, "of 12.8 MB"


def resident_bytes(file: Path) -> int:
    """Return how much of a mapped file is in this process' memory."""
    found, is_it = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            is_it = line.endswith(str(file))
        elif is_it and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


def travelled(groups: Sequence[Group]) -> list[Group]:
    """Return groups as a machine has them that isn't the one on which they were found."""
    return [
        replace(one, place=one.place and replace(one.place, path="/elsewhere")) for one in groups
    ]


@pytest.mark.parametrize("how", ["parquet", "arrow"])
def test_a_file_that_changes_is_refused(tmp_path: Path, how: str) -> None:
    groups = written(tmp_path, how)
    file = Path(groups[0].file)
    rows = rows_of(groups)
    rows.take(np.arange(5))
    before = file.read_bytes()
    os.utime(file, ns=(1, 1))
    with pytest.raises(FileChanged, match="has changed since it was opened"):
        rows.take(np.arange(5))
    # The same content is the same file, wherever it comes from; one of the user's that lies where it was may be another.
    file.write_bytes(before)
    if how == "parquet":
        with pytest.raises(FileChanged, match="is not the file that the run began with"):
            rows_of(groups)
    groups = travelled(groups)
    assert rows_of(groups).take(np.arange(5))[1].tolist() == list(range(5))
    for other in (table(first=1), table(rows=ROWS // 2), table(rows=ROWS + 50)):
        written(tmp_path, how, other)
        for ask in (rows_of, lambda groups: groups[0].read(["whole"])):
            with pytest.raises(FileChanged, match="is not the file that the run began with"):
                ask(groups)
    with pytest.raises(FileChanged, match="has other groups of rows than it had"):
        rows_of([Group(str(file), 10, 100)]).take(np.array([70]))
    file.unlink()
    with pytest.raises(BadData, match=r"can't be read: .*No such file"):
        rows_of(groups)


def test_a_file_of_the_same_footer_is_refused_where_it_lies(tmp_path: Path) -> None:
    """Neither sizes nor the least and largest values tell that rows have changed places."""
    found = []
    for values in ([1, 2, 3, 4], [1, 3, 2, 4]):
        whole = pa.table({"whole": pa.array(values)})
        pq.write_table(whole, tmp_path / "t.parquet", compression="none", use_dictionary=False)
        found.append(groups_of(tmp_path / "t.parquet"))
    assert found[0][0].stamp == found[1][0].stamp
    for ask in (lambda groups: rows_of(groups, ["whole"]), lambda groups: groups[0].read("whole")):
        with pytest.raises(FileChanged, match="is not the file that the run began with, or was"):
            ask(found[0])


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    groups = written(tmp_path, "parquet")
    for columns in (["nothing"], ["whole", "nothing"]):
        with pytest.raises(BadData, match="has no column 'nothing'"):
            rows_of(groups, columns)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"whole": pa.array([1.5])}), other)
    with pytest.raises(
        BadData, match=r"other.parquet: column 'whole' is double, in .* it is int64"
    ):
        rows_of([*groups, *groups_of(other)], ["whole"])
    for text, message in (("a,b\n1,2\n", "expected a Parquet file, or"), ("PAR1", "can't be read")):
        other.write_text(text)
        with pytest.raises(BadData, match=message):
            rows_of([Group(str(other), 0, 1)])
    wrong: list[dict[str, Any]] = [{"groups": []}, {"columns": []}, {"chosen": np.ones(3, bool)}]
    for more in wrong:
        with pytest.raises(ValueError, match=r"no groups or no columns|expected 1000 booleans"):
            rows_of(**{"groups": groups, "columns": NAMES, **more})
    rows = TableRows(groups, ["whole"], lambda b: (np.zeros(min(b.num_rows, 3)),))
    with pytest.raises(ValueError, match=r"the encoder has made float64\[3\] of 5 rows"):
        rows.take(np.arange(5))
    damaged = bytearray((tmp_path / "table.parquet").read_bytes())
    begin = (
        pq.read_metadata(tmp_path / "table.parquet").row_group(3).column(0).dictionary_page_offset
    )
    damaged[begin : begin + 60] = bytes(60)
    (tmp_path / "table.parquet").write_bytes(damaged)
    rows = rows_of(travelled(groups))
    with pytest.raises(BadData, match=r"table\.parquet can't be read"):
        rows.take(np.array([350]))


def test_a_file_that_is_written_anew_in_place_is_read_anew(tmp_path: Path) -> None:
    """As in a notebook: of the process' memory of the file before nothing is taken."""
    file = tmp_path / "table.parquet"
    for first in (0, 5000):
        pq.write_table(table(first=first), file, row_group_size=GROUP)
        read = [group.read(["word", "whole", "kind"]) for group in groups_of(file)]
        assert pa.concat_tables(read).equals(table(first=first).select(["word", "whole", "kind"]))
    with pytest.raises(BadData, match="has changed: 100 rows where 99 were"):
        Group(str(file), 0, 99).read(["whole"])


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_large_table_gives_what_its_arrays_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    """Of all columns or of some; in one window in the order of arrays, too."""
    draws, file = np.random.RandomState(0), tmp_path / f"table{suffix}"
    frame = pd.DataFrame(
        {
            "number": np.where(draws.rand(ROWS) < 0.1, np.nan, draws.rand(ROWS)),
            "word": draws.choice(["a", "b", "c", None], ROWS),
            "kind": pd.Categorical(draws.choice(["x", "y"], ROWS)),
            "true": draws.rand(ROWS) < 0.5,
            "label": draws.choice(["yes", "no"], ROWS),
        }
    )
    if suffix == ".csv":
        frame.to_csv(file, index=False)
    else:
        frame.to_parquet(file, row_group_size=GROUP)
    ready = prepare(Declared(FileSource(str(file)), "label"), tmp_path / "runs")
    assert not ready.is_large
    for split in ("train", "validation"):
        for names in (ready.columns, ("word",), ()):
            small = ready.batched(split, names)
            assert isinstance(small, tuple)
            with monkeypatch.context() as patched:
                patched.setattr(table_module, "LARGE_BYTES", -1)
                large = ready.batched(split, names)
            assert isinstance(large, TableRows)
            for seed in (None, 3):
                found = [NoFramework().batches(data, 64, seed, 1) for data in (large, small)]
                for one, other in zip(*found, strict=True):
                    assert [(p.dtype, p.tobytes()) for p in one] == [
                        (p.dtype, p.tobytes()) for p in other
                    ]
    monkeypatch.setattr(table_module, "LARGE_BYTES", -1)
    with pytest.raises(ValueError, match="unknown split 'test'"):
        ready.batched("test", ready.columns)
