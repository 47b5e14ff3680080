"""Files as a source: which ones, what they have in common, and what is told of them before they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dotrain.data.declared import Declared
from dotrain.data.files import FileSource
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


def test_a_secret_in_a_url_is_shown_to_nobody() -> None:
    source = FileSource("ftp://user:canary@127.0.0.1/t.csv?token=canary")
    assert source.text == "ftp://127.0.0.1/t.csv"
    with pytest.raises(BadData, match="holds a password, and each run keeps its config") as raised:
        ready("ftp://user:canary@127.0.0.1:1/t.csv")
    assert "canary" not in str(raised.value)
    with pytest.raises(BadData, match=r"ftp://127\.0\.0\.1:1/t\.csv can't be read: Connection"):
        ready("ftp://127.0.0.1:1/t.csv")
