"""Files as a source: which ones, what they have in common, and what is told of them before they are read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dotrain.config.source import Source
from dotrain.config.tabular import TableSection, declared_table
from dotrain.data import kept
from dotrain.data.declared import Declared
from dotrain.data.feast_process.describing import Question
from dotrain.data.files import FileSource
from dotrain.data.groups import groups_of
from dotrain.data.kept import keep, keep_beside
from dotrain.data.preparing import prepare
from dotrain.data.source import BadData
from dotrain.data.table import Table


def ready(pattern: Path | str, label: str = "y", **more: Any) -> Table:
    """Return the table of a pattern, made ready in a folder beside."""
    return prepare(Declared(FileSource(str(pattern)), label, **more), _runs)


_runs = Path()


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path) -> None:
    global _runs
    _runs = tmp_path / "runs"


def rows(table: Table) -> list[tuple[Any, ...]]:
    """Return all rows in their order, with the label at the end."""
    parts = []
    for split in ("train", "validation"):
        frame, labels = table.frame(split, table.columns)
        parts.append(frame.assign(label=labels))
    whole = pd.concat(parts).sort_index().astype(object)
    whole = whole.where(whole.notna(), None)
    return [tuple(row) for row in whole.itertuples(index=False)]


def test_the_files_of_a_pattern_are_one_table_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, first in (("b.csv", 3), ("a.csv", 1), ("c.txt", 5)):
        (tmp_path / name).write_text(f"x,y\n{first},0\n{first + 1},1\n")
    expected = [(1, 0), (2, 1), (3, 0), (4, 1)]
    assert rows(ready(tmp_path / "*.csv")) == expected
    assert rows(ready(tmp_path)) == expected
    assert rows(ready(f"file://{tmp_path}/*.csv")) == expected
    assert rows(ready(f"file://{tmp_path}")) == expected


def test_a_column_of_text_files_has_the_type_that_holds_all(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,z,y\n1,,0\n2,,1\n")
    (tmp_path / "b.csv").write_text("x,z,y\n1.5,u,0\n,v,1\n")
    table = ready(tmp_path / "*.csv")
    assert [table.facts[name].type for name in ("x", "z")] == ["double", "string"]
    assert rows(table) == [(1.0, None, 0), (2.0, None, 1), (1.5, "u", 0), (None, "v", 1)]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("x,y\nu,0\n", "column 'x' is int64 in .*a.csv, and string in .*b.csv: write it alike"),
        ("x,z\n1,0\n", r"b\.csv has the columns x, z, and .*a\.csv x, y"),
    ],
)
def test_files_that_are_no_table_together_are_refused(
    tmp_path: Path, other: str, message: str
) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,0\n2,1\n")
    (tmp_path / "b.csv").write_text(other)
    with pytest.raises(BadData, match=message):
        ready(tmp_path / "*.csv")


def test_parquet_files_of_different_types_are_refused_by_their_schemas(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1, 2], "y": [0, 1]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"x": [1.5, 2], "y": [0, 1]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(BadData, match=r"'x' is int64 in .*a\.parquet, and double in .*b\.parquet"):
        FileSource(f"{tmp_path}/*.parquet").declared()
    (tmp_path / "c.csv").write_text("x,y\n")
    with pytest.raises(BadData, match=r"files of several kinds, \.csv, \.parquet; name one"):
        FileSource(str(tmp_path)).declared()


def test_folders_that_are_named_after_values_are_columns(tmp_path: Path) -> None:
    for year, town, value in ((2027, "a b", 3), (2026, "c", 1)):
        folder = tmp_path / f"year={year}" / f"town={town.replace(' ', '%20')}"
        folder.mkdir(parents=True)
        pd.DataFrame({"x": [value, value + 1], "y": [0, 1]}).to_parquet(folder / "part.parquet")
    (tmp_path / "_SUCCESS").touch()
    table = ready(tmp_path)
    assert table.columns == ("x", "year", "town")
    assert rows(table) == [
        (1, 2026, "c", 0),
        (2, 2026, "c", 1),
        (3, 2027, "a b", 0),
        (4, 2027, "a b", 1),
    ]
    assert table.facts["year"].kind == "number"


def test_what_lies_is_read_there_and_what_does_not_is_stored_once(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": range(10), "y": [0, 1] * 5})
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=4)
    frame.to_feather(tmp_path / "t.feather")
    frame.to_csv(tmp_path / "t.csv", index=False)
    lying = ready(tmp_path / "t.parquet")
    assert [group.file for group in lying.groups] == [str(tmp_path / "t.parquet")] * 3
    stored = [ready(tmp_path / f"t.{kind}") for kind in ("feather", "csv")]
    # Equal rows of equal types are one table, whatever they came from.
    assert stored[0].groups == stored[1].groups
    assert stored[0].digest == stored[1].digest
    assert len(list(_runs.glob(".data/*/table.arrow"))) == 1
    assert rows(lying) == rows(stored[0]) == rows(stored[1])
    for one in (lying, *stored):
        for split in ("train", "validation"):
            for found, expected in zip(
                one.arrays(split, one.columns), lying.arrays(split, one.columns), strict=True
            ):
                assert found.tobytes() == expected.tobytes()


def test_a_resume_takes_the_rows_that_are_kept(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("x,y\n1,0\n2,1\n3,0\n")
    source = FileSource(f"{tmp_path}/t.csv")
    first = prepare(Declared(source, "y"), _runs)
    kept = _runs / ".data" / first.digest[:32] / "table.arrow"
    moment = kept.stat().st_mtime_ns
    again = prepare(Declared(source, "y"), _runs, first.to_json())
    assert (again, kept.stat().st_mtime_ns) == (first, moment)
    # What has been damaged since is made anew.
    kept.write_bytes(kept.read_bytes()[:-1])
    assert prepare(Declared(source, "y"), _runs, first.to_json()) == first
    assert rows(first) == [(1, 0), (2, 1), (3, 0)]


def test_only_what_people_wrote_is_a_pattern(tmp_path: Path) -> None:
    """And nothing in the name of the folder that it starts from."""
    for name, value in (("exp[1]", 1), ("exp1", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t1.csv").write_text(f"x,y\n{value},0\n{value},1\n")
    (tmp_path / "exp1" / "other.csv").write_text("x,y\n1,0\n")
    folder = tmp_path / "exp[1]"
    section = TableSection(file="t*.csv", label="y")
    declared, problems = declared_table(section, folder, Source(folder / "exp.yaml", {}, []))
    assert declared is not None
    assert not problems
    assert declared.source.text == f"{folder}/t*.csv"
    assert rows(prepare(declared, _runs)) == [(1, 0), (1, 1)]
    assert list(FileSource("./t*.csv", str(folder)).identity()["files"]) == ["t1.csv"]
    assert list(FileSource("t[1].csv", str(folder)).identity()["files"]) == ["t1.csv"]
    with pytest.raises(BadData, match=r"no file .*exp\[1\]/other\.csv"):
        FileSource("other.csv", str(folder)).declared()
    asked = Question("", "t*.csv", "y", None, None, False, False, 0, str(folder))
    assert [file.name for file in asked.source.files.all] == ["t1.csv"]


@pytest.mark.parametrize("name", ["b.csv.gz", "b.PARQUET.zst", "b.avro", "b.csv.zip"])
def test_what_holds_rows_and_is_not_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,0\n2,1\n")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "schema.json").touch()
    (tmp_path / "journal.jsonl").touch()
    assert rows(ready(tmp_path)) == [(1, 0), (2, 1)]
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / name).touch()
    message = f"below/{name} isn't read, and would be left out: unpack or convert it"
    for pattern in (tmp_path, tmp_path / "**" / "*", f"file://{tmp_path}"):
        with pytest.raises(BadData, match=message):
            ready(pattern)
    assert rows(ready(tmp_path / "**" / "*.csv")) == [(1, 0), (2, 1)]


def test_linked_folders_are_read_and_none_twice(tmp_path: Path) -> None:
    for folder, value in (("data", 1), ("elsewhere", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(f"x,y\n{value},0\n{value},1\n")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    assert rows(ready(tmp_path / "data")) == [(2, 0), (2, 1), (1, 0), (1, 1)]
    for target in (tmp_path / "elsewhere", tmp_path / "data"):
        (tmp_path / "data" / "again").symlink_to(target)
        with pytest.raises(BadData, match=r"is the same folder as .*: its rows"):
            ready(tmp_path / "data")
        (tmp_path / "data" / "again").unlink()


def test_folders_that_name_a_column_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a=1" / "a=2").mkdir(parents=True)
    (tmp_path / "a=1" / "a=2" / "t.csv").write_text("x,y\n1,0\n2,1\n")
    with pytest.raises(BadData, match=r"a=1/a=2/t\.csv lies in two folders of one column"):
        ready(tmp_path)


def test_a_whole_number_that_a_float_does_not_hold_is_refused_across_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"x,y\n{2**53},0\n5,1\n")
    (tmp_path / "b.csv").write_text("x,y\n0.5,0\n,1\n")
    assert [row[0] for row in rows(ready(tmp_path))] == [2**53, 5, 0.5, None]
    (tmp_path / "a.csv").write_text(f"x,y\n{2**53 + 1},0\n5,1\n")
    message = r"a\.csv: column 'x' holds 9007199254740993, which has more digits than a float"
    with pytest.raises(BadData, match=message):
        ready(tmp_path)


def batches_of(table: pa.Table, size: int) -> Any:
    """Return a table in batches, each cut out of another one."""
    for batch in pa.concat_tables([table.slice(0, 3), table]).slice(3).to_batches(size):
        padded = pa.Table.from_batches([batch, batch]).combine_chunks().to_batches()[0]
        yield padded.slice(batch.num_rows)


#: How many buffers arrays have of their own, if not two.
_BUFFERS = {
    pa.string().id: 3,
    pa.struct([]).id: 1,
    pa.list_(pa.null(), 1).id: 1,
}


def test_equal_rows_have_an_equal_digest_however_they_were_cut(tmp_path: Path) -> None:
    """Whatever lies beneath what is missing."""
    size, present = 200, np.arange(200) % 3 != 0
    valid = pa.py_buffer(np.packbits(present, bitorder="little"))

    def table(beneath: int) -> pa.Table:
        numbers = np.where(present, np.arange(size), beneath)
        floats = np.where(present, np.arange(size) / 3, np.nan if beneath else 0.0)
        words = [f"word {n}" if p else "x" * beneath for n, p in enumerate(present.tolist())]
        whole = [pa.array(words), pa.array([[n, n] for n in numbers.tolist()])]
        whole += [pa.array([{"a": n} for n in numbers.tolist()]), pa.array(numbers % 2 == 1)]
        whole += [pa.array(numbers).cast(pa.timestamp("s")), pa.array(floats)]
        whole += [pa.array([[n] for n in numbers.tolist()], pa.list_(pa.int64(), 1))]
        arrays = [pa.array(["u", None] * (size // 2)).dictionary_encode()]
        for one in whole:
            own = one.buffers()[1 : _BUFFERS.get(one.type.id, 2)]
            if pa.types.is_struct(one.type):
                children = [one.field(0)]
            else:
                children = [one.values] if one.type.num_fields else []
            arrays.append(pa.Array.from_buffers(one.type, size, [valid, *own], children=children))
            arrays[-1].validate(full=True)
        return pa.table(arrays, [str(n) for n in range(len(arrays))])

    digests = set()
    for beneath in (0, 7):
        for rows_at_once in (200, 64, 13):
            file, digest = keep(batches_of(table(beneath), rows_at_once), tmp_path)
            digests.add(digest)
    assert len(digests) == 1
    with pa.memory_map(str(file)) as opened:
        found = pa.ipc.open_file(opened).read_all()
    found.validate(full=True)
    assert found.to_pylist() == table(0).to_pylist()
    assert keep(batches_of(table(0).slice(1), 64), tmp_path)[1] != digest


def test_decimals_are_stored_as_the_nearest_floats_or_refused(tmp_path: Path) -> None:
    told = [Decimal("0.1"), None, Decimal("123456.789"), Decimal(2**60)]
    batch = pa.record_batch({"x": pa.array(told, pa.decimal128(38, 3))})
    file, _ = keep([batch], tmp_path)
    assert groups_of(file)[0].read(["x"])["x"].to_pylist() == [0.1, None, 123456.789, 2**60]
    batch = pa.record_batch({"x": pa.array([*told, Decimal(2**60 + 1)], pa.decimal128(38, 3))})
    with pytest.raises(BadData, match=r"column 'x': 1152921504606846977\.000 in row 5 has more"):
        keep([batch], tmp_path)


def test_a_table_that_is_kept_stays_the_file_that_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may be reading it, and would take a new one for another table; what is damaged is replaced."""
    batch = pa.record_batch({"x": [1, 2]})
    file, digest = keep([batch], tmp_path)
    inode, content = file.stat().st_ino, file.read_bytes()
    answers = [False]  # as if the other had stored it between our looking and our writing
    real = kept.is_kept
    monkeypatch.setattr(kept, "is_kept", lambda *of: answers.pop() if answers else real(*of))
    assert keep([batch], tmp_path) == (file, digest)
    assert file.stat().st_ino == inode
    monkeypatch.undo()
    file.write_bytes(b"damaged")
    assert keep([batch], tmp_path) == (file, digest)
    assert file.read_bytes() == content
    file.unlink()

    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    assert keep([batch], tmp_path) == (file, digest)
    assert file.read_bytes() == content


def test_what_killed_processes_have_left_beside_a_table_is_removed(tmp_path: Path) -> None:
    file, _ = keep([pa.record_batch({"x": [1, 2]})], tmp_path)
    old, new = file.with_name(".new-old"), file.with_name(".new-new")
    old.touch()
    new.touch()
    os.utime(old, (1, 1))
    keep_beside(file, "mask.npy", b"a")
    assert sorted(one.name for one in file.parent.iterdir()) == [
        *(".new-new", "mask.npy", "table.arrow")
    ]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A server of files, and what it was asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *of: Any) -> None:
            super().__init__(*of, directory=str(tmp_path))

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_a_file_of_the_web_is_fetched_once(
    tmp_path: Path, web: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is told of it is told of the same bytes; its address may have a query, a secret one."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    url, asked = web
    frame = pd.DataFrame({"x": [1, 2], "y": [0, 1]})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    for name in ("t.parquet", "t.csv"):
        asked.clear()
        table = ready(f"{url}/{name}?sig=canary/1*")
        assert rows(table) == [(1, 0), (2, 1)]
        assert list(table.identity["files"]) == [name]
        assert "canary" not in json.dumps(table.to_json())
        assert asked == [f"/{name}?sig=canary/1*"]
    assert not list(tmp_path.glob("dotrain-*"))
    with pytest.raises(BadData, match=r"/none\.csv") as raised:
        ready(f"{url}/none.csv?sig=canary")
    assert "canary" not in str(raised.value)


def test_a_secret_in_a_url_is_shown_to_nobody() -> None:
    source = FileSource("ftp://user:canary@127.0.0.1/t.csv?token=canary")
    assert source.text == "ftp://127.0.0.1/t.csv"
    with pytest.raises(BadData, match="holds a password, and each run keeps its config") as raised:
        ready("ftp://user:canary@127.0.0.1:1/t.csv")
    assert "canary" not in str(raised.value)
    with pytest.raises(BadData, match=r"ftp://127\.0\.0\.1:1/t\.csv can't be read: Connection"):
        ready("ftp://127.0.0.1:1/t.csv")
