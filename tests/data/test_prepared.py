"""What is made of odd columns, and what is refused before a trial starts."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dotrain.data import table as of_table
from dotrain.data.declared import Declared
from dotrain.data.derive import Derived
from dotrain.data.determined import Determined
from dotrain.data.doubts import doubts
from dotrain.data.files import FileSource
from dotrain.data.preparing import prepare
from dotrain.data.source import BadData
from dotrain.data.splits import Split
from dotrain.data.table import Table
from dotrain.runs.tables import table_changes

Y = [0, 1] * 5


def ready(folder: Path, given: dict[str, Any], **more: Any) -> Table:
    """Return the table of a Parquet file with these columns and a label."""
    file = folder / "t.parquet"
    pq.write_table(pa.table({"y": Y, **given}), file)
    derived = tuple(Derived(*one) for one in more.pop("derive", {}).items())
    label = more.pop("label", "y")
    return prepare(Declared(FileSource(str(file)), label, derived=derived, **more), folder / "runs")


def validated(table: Table) -> list[int]:
    """Return the numbers of the rows that are validated on."""
    return [int(n) for n in np.flatnonzero(np.load(table.mask))]


def test_each_split_has_a_mask_of_its_own(tmp_path: Path) -> None:
    group = {"g": list(range(10))}
    split = Split(0.4, by="k")
    one = ready(tmp_path, group, derive={"k": "g % 5"}, split=split)
    other = ready(tmp_path, group, derive={"k": "g // 4"}, split=split)
    assert {n % 5 for n in validated(one)} & {
        n % 5 for n in range(10) if n not in validated(one)
    } == set()
    assert {n // 4 for n in validated(other)} & {
        n // 4 for n in range(10) if n not in validated(other)
    } == set()
    assert one.mask != other.mask
    assert one.to_json()["split"] != other.to_json()["split"]
    # One that has been damaged is made anew.
    one.mask.write_bytes(b"")
    with pytest.raises(BadData, match=r"can't be read any more.*made anew when the run goes on"):
        one.arrays("train", ["g"])
    again = ready(tmp_path, group, derive={"k": "g % 5"}, split=split)
    assert (again, again.arrays("train", ["g"])[0].shape) == (one, (6, 1))


@pytest.mark.parametrize(
    "times",
    [
        [f"{n}/1/2020" for n in range(1, 11)],
        [str(n) for n in range(1, 11)],
        [*(f"2026-01-{n:02}" for n in range(1, 10)), "2026-01-10T01:00"],
    ],
)
def test_a_time_of_text_is_in_the_order_of_time(tmp_path: Path, times: list[str]) -> None:
    with pytest.raises(BadData, match="whose order isn't that of time: write times as") as raised:
        ready(tmp_path, {"x": range(10), "t": times}, split=Split(time="t"))
    assert raised.value.key == ("split", "time")
    days = [datetime.date(2026, 1, 10 - n).isoformat() for n in range(10)]
    assert validated(ready(tmp_path, {"x": range(10), "t": days}, split=Split(time="t"))) == [0, 1]


def test_a_time_that_is_no_number_is_missing(tmp_path: Path) -> None:
    times = [*map(float, range(9)), math.nan]
    with pytest.raises(BadData, match="column 't': 1 of 10 have no time"):
        ready(tmp_path, {"x": range(10), "t": times}, split=Split(time="t"))


def test_no_number_is_no_category(tmp_path: Path) -> None:
    table = ready(tmp_path, {"x": [1.0, math.nan] * 5}, kinds={"x": "category"})
    assert (table.facts["x"].values, table.facts["x"].missing) == ((1.0,), 5)
    with pytest.raises(BadData, match="label column 'x': 5 of 10 are missing"):
        ready(tmp_path, {"x": [1.0, math.nan] * 5}, kinds={"x": "category"}, label="x")


@pytest.mark.parametrize(
    ("values", "said", "message"),
    [
        ([*"0123456789"], "number", "column 'x' is string, and only numbers and booleans can be"),
        ([[1]] * 10, "category", r"is list<.*>, and only numbers, text and booleans can be taken"),
        (
            [datetime.date(2026, 1, 1)] * 10,
            "category",
            "is date32.*only numbers, text and booleans",
        ),
        ([Decimal("1.5")] * 10, "category", "is decimal128.*only numbers, text and booleans"),
    ],
)
def test_what_a_column_can_not_be_is_refused(
    tmp_path: Path, values: Any, said: Any, message: str
) -> None:
    with pytest.raises(BadData, match=message) as raised:
        ready(tmp_path, {"x": values}, kinds={"x": said})
    assert raised.value.key == ("types", "x")


def test_labels_are_numbers_whatever_holds_them(tmp_path: Path) -> None:
    for values, expected in (
        ([Decimal(n) / 2 for n in range(10)], [n / 2 for n in range(10)]),
        (pa.array([*"ab"] * 5).dictionary_encode(), [0, 1] * 5),
        ([2**60 + n for n in range(10)], [2**60 + n for n in range(10)]),
    ):
        table = ready(tmp_path, {"x": values, "z": range(10)}, label="x")
        found = dict(
            pair
            for split in ("train", "validation")
            for pair in zip(
                table.frame(split, ["z"])[0].index, table.arrays(split, ["z"])[1], strict=True
            )
        )
        assert [found[n] for n in range(10)] == expected


@pytest.mark.parametrize(
    "values",
    [
        [1e200 * n for n in range(10)],
        [1e-200 * n for n in range(10)],
        [2**60 + n for n in range(10)],
    ],
)
def test_a_column_that_varies_does_not_become_a_constant(tmp_path: Path, values: Any) -> None:
    table = ready(tmp_path, {"x": values, "z": range(10)})
    with pytest.raises(
        BadData, match=r"column 'x' goes from .* which floats of 64 bits can't scale"
    ):
        table.arrays("train", ["x", "z"])
    assert table.arrays("train", ["z"])[0].shape == (8, 1)


def test_a_column_has_one_type_in_both_splits(tmp_path: Path) -> None:
    columns = {"n": [None, *range(9)], "b": [None, *[True] * 9]}
    table = ready(tmp_path, columns)
    types = [
        dict(table.frame(split, ["n", "b"])[0].dtypes.astype(str))
        for split in ("train", "validation")
    ]
    assert types == [{"n": "float64", "b": "object"}] * 2


def test_columns_may_need_the_same_one(tmp_path: Path) -> None:
    columns = {"a": range(10), "b": range(10)}
    table = ready(tmp_path, columns, derive={"d": "a * 2", "e": "a + b"}, columns=("d", "e"))
    assert list(table.frame("train", table.columns)[0].columns) == ["d", "e"]
    with pytest.raises(BadData, match="column 'a' is named twice"):
        ready(tmp_path, columns, columns=("a", "a"))


def test_declared_categories_divide_rows_as_text_does(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d", "e"] * 2
    frame = pd.DataFrame({"y": Y, "x": range(10), "g": names})
    file = tmp_path / "t.parquet"
    masks = []
    for kind in ("str", "category"):
        frame.astype({"g": kind, "y": "category"}).to_parquet(file)
        for split in (Split(by="g"), Split(stratify=True)):
            declared = Declared(FileSource(str(file)), "y", columns=("x",), split=split)
            masks.append(validated(prepare(declared, tmp_path / "runs")))
    assert masks[:2] == masks[2:]


def test_a_large_table_may_have_a_computed_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"x": range(10), "w": range(10)}
    table = ready(tmp_path, given, derive={"z": "w > 4"}, label="z", columns=("x",))
    rows, labels = table.arrays("train", ["x"])
    monkeypatch.setattr(of_table, "LARGE_BYTES", 0)
    lazy = table.batched("train", ["x"])
    found = lazy.take(np.arange(len(lazy)))
    assert (found[0].tolist(), found[1].tolist()) == (rows.tolist(), labels.tolist())


def test_what_differs_between_two_tables_is_told_by_its_column(tmp_path: Path) -> None:
    one = ready(tmp_path, {"x": range(10)}).to_json()
    assert list(table_changes(one, one)) == []
    other = {**one, "columns": [{**one["columns"][0], "kind": "category"}]}
    assert list(table_changes(one, other)) == [
        "data.columns.x.kind: was 'number', is now 'category'"
    ]
    # What another machine sums in another way is the same table.
    moved = {**one, "columns": [{**one["columns"][0], "mean": 4.75}]}
    assert list(table_changes(one, moved)) == []


def test_what_is_doubtful_is_told(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    rows = 300
    columns = {
        "y": [0, 1] * (rows // 2),
        "key": [f"k{n}" for n in range(rows)],
        "none": pa.nulls(rows),
        "g": [n > 100 for n in range(rows)],
        "x": range(rows),
    }
    file = tmp_path / "t.parquet"
    parquet.write_table(pa.table(columns), file)
    table = prepare(Declared(FileSource(str(file)), "y", split=Split(by="g")), tmp_path / "runs")
    found = list(doubts(table))
    assert len(found) == 3
    assert found[0].startswith("column 'key' has 101 different values in 101 rows to train on")
    assert found[1] == "column 'none' has no value in any row"
    assert found[2].startswith("66% of the rows are validated on, where 20% were asked for: by 'g'")
    plain = ready(tmp_path, {"x": range(10)})
    assert list(doubts(plain)) == []
    few = ready(tmp_path, {"x": range(10)}, split=Split(0.001))
    assert list(doubts(few)) == [
        "10% of the rows are validated on, where 0% were asked for: there are too few rows"
    ]


def test_a_label_is_not_predicted_from_what_it_is_computed_from(tmp_path: Path) -> None:
    given = {"x": range(10), "z": range(10)}
    derive = {"big": "x > 4", "label": "big"}
    with pytest.raises(
        BadData, match="column 'x' tells the label, which is computed from it: label"
    ):
        ready(tmp_path, given, derive=derive, label="label")
    with pytest.raises(BadData, match="column 'big' tells the label") as raised:
        ready(tmp_path, given, derive=derive, label="label", columns=("z", "big"))
    assert raised.value.key == ("columns", 1)
    assert ready(tmp_path, given, derive=derive, label="label", columns=("z",)).columns == ("z",)
    with pytest.raises(BadData, match=r"'idle' is not among data\.columns"):
        ready(tmp_path, given, derive={"idle": "x + 1"}, columns=("z",))


def test_a_copy_tells_a_column_though_all_its_values_differ() -> None:
    numbers = pa.array([n * 0.37 for n in range(200)])
    found = Determined({"x": numbers, "copy": numbers, "other": pa.array(range(200))})
    assert found.of("x", ["copy", "other"]) == ("copy",)
