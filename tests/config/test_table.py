"""A declared table by its header: what `dotrain check` says of it, with file, line and column."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.folder import Folder

CONFIG = """\
train: t.py:train
metric: m
data:
  file: {file}
  label: {label}
"""


def problems(folder: Folder, header: str, label: str = "y", more: str = "") -> list[str]:
    folder.write("table.csv", f"{header}\n1,2,3\n")
    return folder.problems(CONFIG.format(file="table.csv", label=label) + more)


@pytest.mark.parametrize(
    ("header", "label", "expected"),
    [
        ("a,b,survived", "surived", "5:10: data.label: {} has no label column 'surived'; did you"),
        ("a;b;y", "y", "5:10: data.label: {} has no label column 'y'; known: a;b;y"),
        ("a, b, y", "y", "5:10: data.label: {} has no label column 'y'; did you mean ' y'?"),
        (",a,y", "y", "4:9: data.file: {}: column 1 has no name (a saved index?"),
        ("a,a,y", "y", "4:9: data.file: {}: columns 1 and 2 are both named 'a'"),
        ("y", "y", "4:9: data.file: {} has no column beside the label"),
    ],
)
def test_a_wrong_table_is_told_with_its_place(
    folder: Folder, header: str, label: str, expected: str
) -> None:
    (found,) = problems(folder, header, label)
    assert found.startswith(expected.format(folder.path / "table.csv")), found


def test_a_sound_table_is_no_problem_and_needs_no_pandas(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    folder.write("table.csv", "\ufeffa,b,y\n")
    loaded = folder.load(CONFIG.format(file="table.csv", label="a"))
    assert loaded.table is not None


def test_the_columns_of_a_study_are_looked_up(folder: Folder) -> None:
    more = "ablation:\n  features: [a, bb, y]\n  seeds: 9\n"
    assert problems(folder, "a,b,y", more=more) == [
        f"7:17: ablation.features[1]: {folder.path / 'table.csv'} has no column 'bb'; "
        "did you mean 'b'?",
        "7:21: ablation.features[2]: column 'y' is the label, and is not trained on",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "no file {}"),
        (
            "a.xlsx",
            b"x",
            "{}: expected a file that ends in .csv, .tsv, .parquet, .feather or .arrow",
        ),
        ("a.csv", b"", "{} can't be read: it is empty"),
        ("a.csv", "a,y\n".encode("utf-16"), "{} can't be read: it is not UTF-8 text"),
        ("a.parquet", b"PAR?", "{} can't be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(
    folder: Folder, name: str, content: bytes | None, message: str
) -> None:
    file: Path = folder.path / name
    if content is not None:
        file.write_bytes(content)
    (found,) = folder.problems(CONFIG.format(file=name, label="y"))
    assert found.startswith(f"4:9: data.file: {message.format(file)}")


def test_a_parquet_files_columns_are_known_too(folder: Folder) -> None:
    import pandas as pd

    pd.DataFrame({"a": [1, 2], "y": [0, 1]}).to_parquet(folder.path / "t.parquet")
    (found,) = folder.problems(CONFIG.format(file="t.parquet", label="z"))
    assert "has no label column 'z'" in found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("{}", "data.label: required key is missing"),
        ("{file: table.csv}", "data.label: required key is missing"),
        ("{label: y}", "data: says not where the rows are: expected file or sql or feast"),
        (
            "{file: a.csv, sql: SELECT 1, label: y}",
            "data.sql: the rows can't come from file and sql",
        ),
        (
            "{file: table.csv, label: y, split: {by: a, time: b}}",
            "data.split.time: by and time can't both decide: name one of them",
        ),
    ],
)
def test_a_broken_section_is_told_once(folder: Folder, data: str, expected: str) -> None:
    folder.write("t.py", "def train(data_gen): return 1.0\n")
    (found,) = folder.problems(f"train: t.py:train\nmetric: m\ndata: {data}\n")
    assert found.split(": ", 1)[1] == expected


def test_all_that_is_wrong_with_names_is_told_at_once(folder: Folder) -> None:
    folder.write("table.csv", "a,b,y\n1,2,3\n")
    config = """\
train: t.py:train
metric: m
data:
  file: table.csv
  label: yy
  columns: [a, aa]
  derive: {c: bb + 1}
  types: {z: number}
  split: {by: g}
"""
    found = [one.partition(": ")[2].partition(":")[0] for one in folder.problems(config)]
    assert found == [
        "data.label",
        "data.columns[1]",
        "data.derive.c",
        "data.derive.c",
        "data.types.z",
        "data.split.by",
    ]
