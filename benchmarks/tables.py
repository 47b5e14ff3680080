"""Training by batches on a table that is larger than memory: what a rank takes, and what it reads.

    python benchmarks/tables.py [--rows 30000000] [--columns 40] [--batch 1024]

A table of numbers is written as Parquet and as an Arrow file, into a temporary folder (TMPDIR) that is removed at the end; it
takes about 9 bytes for each number. Then a process of its own for each row below trains a linear model
on it for an epoch, shuffled, in NumPy and as one rank of two in PyTorch. Its memory is read after its imports and every
20 ms from then on: what it has allocated (anonymous), and with that the mapped pages of files, which the system takes back where
others need room. In the same processes it is counted what is read of the last column, which is left out: of Parquet
the bytes, and those of another one, which one process reads once, and a rank only where its rows are; of the Arrow file its pages are made unreadable, so that whoever touches one is killed.

The reference is reading the table once: with the columns that are asked for, group by group, and nothing else.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measuring import ENVIRONMENT, Range, Row, print_table

ROWS, COLUMNS, BATCH = 30_000_000, 40, 1024
#: Of a group: of Parquet what many writers take, of an Arrow file what dotrain writes.
_PARQUET_ROWS, _ARROW_ROWS = 100_000, 1 << 16
_TARGET_MB = 1000.0
_LOOK_S = 0.02


def names(columns: int) -> list[str]:
    """Return the names of the columns; the first one is the label."""
    return ["label", *(f"c{number}" for number in range(1, columns))]


def write(folder: Path, rows: int, columns: int) -> None:
    """Write the table twice: half of its columns are whole numbers, the others have fractions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [pa.int32() if number % 2 == 0 else pa.float32() for number in range(columns)]
    schema = pa.schema(list(zip(names(columns), kinds, strict=True)))
    draws = np.random.default_rng(0)
    with (
        pq.ParquetWriter(folder / "table.parquet", schema) as parquet,
        pa.ipc.new_file(str(folder / "table.arrow"), schema) as arrow,
    ):
        done = 0
        while done < rows:
            count = min(20 * _PARQUET_ROWS, rows - done)
            arrays = [
                pa.array(draws.integers(0, 1000, count, np.int32))
                if pa.types.is_integer(kind)
                else pa.array(draws.random(count, np.float32))
                for kind in kinds
            ]
            table = pa.table(arrays, schema=schema)
            parquet.write_table(table, row_group_size=_PARQUET_ROWS)
            arrow.write_table(table, max_chunksize=_ARROW_ROWS)
            done += count


def encode(batch: Any) -> tuple[Any, Any]:
    """Return the columns as numbers around 0, and what is to be found."""
    matrix = np.empty((batch.num_rows, batch.num_columns - 1), np.float32)
    for place, column in enumerate(batch.columns[1:]):
        matrix[:, place] = column
    label = np.asarray(batch.column(0)) >= 500
    return matrix, label.astype(np.float32)


class Memory:
    """What a process takes beyond what it took when this was made, in MB."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        self._before = self._now()
        self._most = dict(self._before)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def peaks(self) -> dict[str, float]:
        """Return the most of it: allocated, and with mapped files."""
        self._ends.set()
        self._thread.join()
        self._most["VmHWM"] = self._now()["VmHWM"]
        beyond = {name: self._most[name] - self._before[name] for name in self._most}
        return {"allocated": beyond["RssAnon"], "mapped": beyond["RssFile"], "all": beyond["VmHWM"]}

    def _look(self) -> None:
        while not self._ends.wait(_LOOK_S):
            now = self._now()
            self._most = {name: max(now[name], self._most[name]) for name in now}

    def _now(self) -> dict[str, float]:
        lines = Path("/proc/self/status").read_text().splitlines()
        told = {line.split(":")[0]: line.split()[1] for line in lines if line.endswith(" kB")}
        return {name: int(told[name]) / 1024 for name in ("RssAnon", "RssFile", "VmHWM")}


class Counted:
    """A file whose reads are noted."""

    def __init__(self, file: Any, reads: list[tuple[int, int]]) -> None:
        self._file, self._reads = file, reads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> Any:
        """Read, and note where."""
        begin = self._file.tell()
        found = self._file.read(size)
        self._reads.append((begin, begin + len(found)))
        return found


def bytes_read(file: Path, reads: list[tuple[int, int]], column: int) -> tuple[int, int]:
    """Return how many bytes of a column of a Parquet file were read, and how many it has."""
    import pyarrow.parquet as pq

    footer = pq.read_metadata(file)
    touched = whole = 0
    begins = np.array(sorted(reads)).reshape(-1, 2)
    for index in range(footer.num_row_groups):
        chunk = footer.row_group(index).column(column)
        begin = chunk.data_page_offset
        if chunk.has_dictionary_page:
            begin = min(begin, chunk.dictionary_page_offset)
        end = begin + chunk.total_compressed_size
        overlap = np.minimum(begins[:, 1], end) - np.maximum(begins[:, 0], begin)
        touched += int(np.maximum(overlap, 0).sum())
        whole += end - begin
    return touched, whole


def forbid(mapped: mmap.mmap, name: str) -> int:
    """Make a column of a mapped Arrow file unreadable; return how many pages that are."""
    import pyarrow as pa

    protect = ctypes.CDLL(None, use_errno=True).mprotect
    reader, pages = pa.ipc.open_file(pa.py_buffer(mapped)), 0
    for index in range(reader.num_record_batches):
        for buffer in reader.get_batch(index).column(name).buffers():
            if buffer is None:
                continue
            first = -(-buffer.address // mmap.PAGESIZE) * mmap.PAGESIZE
            size = (buffer.address + buffer.size) // mmap.PAGESIZE * mmap.PAGESIZE - first
            if size > 0:
                assert protect(ctypes.c_void_p(first), ctypes.c_size_t(size), 0) == 0
                pages += size // mmap.PAGESIZE
    return pages


def numpy_epoch(batches: Any) -> int:
    """Train a linear model in NumPy for an epoch; return how many rows it has seen."""
    seen, weights = 0, None
    for x, y in batches:
        weights = np.zeros(x.shape[1], np.float32) if weights is None else weights
        weights -= 1e-9 * x.T @ (x @ weights - y) / len(y)
        seen += len(y)
    return seen


def torch_epoch(batches: Any) -> int:
    """Train one layer in PyTorch for an epoch; return how many rows it has seen."""
    import torch

    seen, model = 0, torch.nn.LazyLinear(1)
    for x, y in batches:
        if not seen:
            model(x)
            optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
        loss = torch.nn.functional.mse_loss(model(x)[:, 0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += len(y)
    return seen


def rank(file: Path, how: str, columns: int, size: int) -> dict[str, Any]:
    """Train for an epoch in this process; return what that took."""
    from dotrain.data.group_files import ArrowGroups, open_groups
    from dotrain.data.groups import groups_of
    from dotrain.data.rows import TableRows
    from dotrain.frameworks.none import NoFramework

    if how == "PyTorch":
        import torch

        from dotrain.frameworks.torch import data

        torch.set_num_threads(1)
        torch.nn.Linear(2, 1)(torch.zeros(1, 2)).sum().backward()
    reads: list[tuple[int, int]] = []
    opened = Path.open

    def counting(path: Path, *args: Any, **kwargs: Any) -> Any:
        found = opened(path, *args, **kwargs)
        return Counted(found, reads) if path == file and args == ("rb",) else found

    groups, asked = groups_of(file), names(columns)[:-1]
    memory = Memory()
    begin_s = time.monotonic()
    found: dict[str, Any] = {}
    if how == "reading":
        source = open_groups(file)
        found["rows"] = sum(
            batch.num_rows for n in range(len(groups)) for batch in source.read([n], asked)
        )
        found["seconds"] = time.monotonic() - begin_s
        return found | memory.peaks()
    Path.open = counting  # type: ignore[assignment, method-assign]
    rows = TableRows(groups, asked, encode)
    source = rows.files[0]
    if isinstance(source, ArrowGroups):
        found["forbidden"] = forbid(source.mapped, names(columns)[-1])
    if how == "PyTorch":
        batches = data.dealt(data.batches_of(rows, size, 1, 0), data.Dealt(0, 2))
        found["rows"] = torch_epoch(batches)
    else:
        found["rows"] = numpy_epoch(NoFramework().batches(rows, size, 1, 0))
    found["seconds"] = time.monotonic() - begin_s
    found |= memory.peaks()
    if not isinstance(source, ArrowGroups):
        found["left out"] = bytes_read(file, reads, columns - 1)
        found["asked"] = bytes_read(file, reads, columns - 2)
    return found


def in_process(file: Path, how: str, columns: int, size: int) -> dict[str, Any]:
    """Return what `rank` returns in a process of its own."""
    command = [sys.executable, __file__, "--rank", how, "--file", str(file)]
    command += ["--columns", str(columns), "--batch", str(size)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert not done.returncode, f"{how}, {file.name}: {done.returncode} {done.stderr}"
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(folder: Path, rows: int, columns: int, size: int) -> Iterator[Row]:
    """Yield the rows of the table."""
    for kind in ("parquet", "arrow"):
        file = folder / f"table.{kind}"
        reading = in_process(file, "reading", columns, size) if kind == "parquet" else None
        for how in ("NumPy", "PyTorch"):
            found = in_process(file, how, columns, size)
            share = 2 if how == "PyTorch" else 1
            assert abs(found["rows"] - rows / share) <= -(-rows // size), found
            what = f"{kind}, {how}" + (", rank 0 of 2" if share == 2 else "")
            for name, text in (("allocated", "allocated"), ("all", "with mapped files")):
                yield Row(
                    f"{what}: {text}, at most, beyond imports",
                    "MB",
                    _one(found[name]),
                    target=f"<= {_TARGET_MB:g}",
                    met=found[name] <= _TARGET_MB,
                )
            other = _one(reading["seconds"]) if reading else None
            yield Row(f"{what}: an epoch", "s", _one(found["seconds"]), other, "reading it")
            if kind == "arrow":
                pages = found["forbidden"]
                text = f"{what}: of {pages} pages of a column that is left out, touched"
                yield Row(text, "pages", _one(0), target="0", met=pages > 0)
                continue
            touched, whole = found["left out"]
            text = f"{what}: of {whole} bytes of a column that is left out, read"
            yield Row(text, "bytes", _one(touched), target="0", met=touched == 0)
            touched, whole = found["asked"]
            text = f"{what}: of {whole} bytes of one that is asked for, read"
            met = touched < whole if share > 1 else touched == whole
            target = "its share" if share > 1 else "each once"
            yield Row(text, "bytes", _one(touched), target=target, met=met)


def _one(value: float) -> Range:
    return Range.of([value])


def main() -> None:
    """Measure, and print a table; exit 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--columns", type=int, default=COLUMNS)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.rank:
        print(json.dumps(rank(asked.file, asked.rank, asked.columns, asked.batch)))
        return
    if asked.columns < 3:
        parser.error(
            "--columns: a label, one that is asked for and one that is left out are needed"
        )
    with tempfile.TemporaryDirectory(prefix="dotrain-tables-") as temporary:
        folder = Path(temporary)
        write(folder, asked.rows, asked.columns)
        sizes = ", ".join(f"{f.suffix} {f.stat().st_size / 1e9:.2f} GB" for f in folder.iterdir())
        rows = list(measured(folder, asked.rows, asked.columns, asked.batch))
    title = f"{asked.rows} rows of {asked.columns} columns ({sizes}), batches of {asked.batch}"
    print_table(rows, title)
    sys.exit(0 if all(row.met is not False for row in rows) else 1)


if __name__ == "__main__":
    main()
