"""The declared table: what is read, split, encoded and refused."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dotrain.ablation.study import Features
from dotrain.training.errors import BadSetup
from dotrain.training.tabular import (
    TabularSource,
    encode,
    encode_labels,
    load_arrays,
    load_table,
)

ALL = Features()


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.RandomState(1)
    size = 101
    return pd.DataFrame(
        {
            "age": np.where(rng.rand(size) < 0.2, np.nan, rng.randint(1, 80, size)),
            "class": rng.choice(["1st", "2nd", "3rd"], size),
            "alone": rng.rand(size) < 0.5,
            "fare": rng.rand(size) * 100,
            "survived": rng.choice(["yes", "no"], size),
        }
    )


def written(folder: Path, table: pd.DataFrame, suffix: str = ".csv") -> Path:
    file = folder / f"tablé{suffix}"
    match suffix:
        case ".parquet":
            table.to_parquet(file)
        case ".tsv":
            table.to_csv(file, sep="\t", index=False)
        case _:
            table.to_csv(file, index=False)
    return file


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Make packages look as if they were not installed."""
    real = builtins.__import__

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in packages:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", importing)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".CSV"])
def test_every_format_gives_the_same_rows(table: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    source = TabularSource(written(tmp_path, table, suffix), "survived", 0.25)
    frame, labels = load_table(source, "validation", ALL)
    assert list(frame.columns) == ["age", "class", "alone", "fare"]
    expected = table.loc[frame.index]
    assert frame["fare"].to_numpy() == pytest.approx(expected["fare"].to_numpy())
    assert list(frame["class"]) == list(expected["class"])
    assert list(labels) == list(expected["survived"])
    assert len(frame) == 25


def test_the_splits_share_no_row_and_miss_none(table: pd.DataFrame, tmp_path: Path) -> None:
    source = TabularSource(written(tmp_path, table), "survived")
    train, _ = load_table(source, "train", ALL)
    validation, _ = load_table(source, "validation", ALL)
    assert sorted([*train.index, *validation.index]) == list(range(101))
    assert len(validation) == 20


def test_the_split_is_the_same_whatever_is_left_out(table: pd.DataFrame, tmp_path: Path) -> None:
    source = TabularSource(written(tmp_path, table), "survived")
    every, _ = load_table(source, "validation", ALL)
    fewer, _ = load_table(source, "validation", Features(["class", "age"]))
    assert list(every.index) == list(fewer.index)
    assert list(fewer.columns) == ["alone", "fare"]


def test_the_split_stays_what_it_was(tmp_path: Path) -> None:
    ten = pd.DataFrame({"x": range(10), "y": range(10)})
    frame, _ = load_table(TabularSource(written(tmp_path, ten), "y", 0.3), "validation", ALL)
    assert list(frame.index) == [2, 4, 8]


def test_only_the_columns_of_the_source_are_asked_about(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    features = Features(["fare"])
    source = TabularSource(written(tmp_path, table), "survived", columns=("fare", "age"))
    frame, _ = load_table(source, "train", features)
    assert list(frame.columns) == ["age"]
    assert features.seen == {"fare", "age"}


def test_arrays_are_encoded_alike_in_both_splits(table: pd.DataFrame, tmp_path: Path) -> None:
    # A value that only one row has is in one split only.
    table.loc[7, "class"] = "crew"
    source = TabularSource(written(tmp_path, table), "survived")
    train, train_labels = load_arrays(source, "train", ALL)
    validation, validation_labels = load_arrays(source, "validation", ALL)
    assert train.shape == (81, 1 + 4 + 2 + 1)
    assert validation.shape == (20, 8)
    assert train.dtype == validation.dtype == np.float32
    numbers = np.concatenate([train, validation])[:, [0, 7]]
    assert numbers.mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert numbers.std(axis=0) == pytest.approx([1, 1], abs=1e-6)
    rows, raw = load_table(source, "validation", ALL)
    assert list(validation_labels) == [int(label == "yes") for label in raw]
    assert set(train_labels) == {0, 1}
    # One-hot by sorted order: 1st, 2nd, 3rd, crew.
    assert list(validation[:, 3]) == [float(value == "3rd") for value in rows["class"]]
    assert np.isfinite(train).all()


def test_without_any_column_there_is_one_of_zeros(table: pd.DataFrame, tmp_path: Path) -> None:
    source = TabularSource(written(tmp_path, table), "survived")
    nothing = Features(["age", "class", "alone", "fare"])
    rows, labels = load_arrays(source, "train", nothing)
    assert rows.shape == (81, 1)
    assert not rows.any()
    assert len(labels) == 81
    assert load_table(source, "train", nothing)[0].shape == (81, 0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, None, 3.0], [[-(1.5**0.5)], [0], [1.5**0.5]]),
        (["b", None, "a"], [[0, 1], [0, 0], [1, 0]]),
        ([True, False, None], [[0, 1], [1, 0], [0, 0]]),
        ([True, False, True], [[0, 1], [1, 0], [0, 1]]),
        (pd.array([True, False, None], dtype="boolean"), [[0, 1], [1, 0], [0, 0]]),
        (pd.array([1, None, 3], dtype="Int64"), [[-(1.5**0.5)], [0], [1.5**0.5]]),
        (pd.Categorical([10, 9, None]), [[0, 1], [1, 0], [0, 0]]),
        ([0.1, 0.1, 0.1], [[0], [0], [0]]),
        ([0.1, None, 0.1], [[0], [0], [0]]),
        ([np.nan, np.nan, np.nan], [[0], [0], [0]]),
        ([None, None, None], [[], [], []]),
        (["b", 1, "a"], [[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    ],
)
def test_every_kind_of_column_has_its_code(values: Any, expected: list[list[float]]) -> None:
    encoded = encode(pd.DataFrame({"x": values}))
    assert encoded.shape == np.shape(expected)
    assert encoded == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 1, 2], [3, 1, 2]),
        ([0.5, 1.5, 2.5], [0.5, 1.5, 2.5]),
        (["yes", "no", "yes"], [1, 0, 1]),
        ([True, False, True], [1, 0, 1]),
    ],
)
def test_labels_are_numbers(values: Any, expected: list[float]) -> None:
    encoded = encode_labels(pd.Series(values, name="y"))
    assert encoded.dtype.kind in "if"
    assert list(encoded) == expected


def test_a_missing_label_is_an_error() -> None:
    with pytest.raises(BadSetup, match="label column 'y': 1 of 3 are missing"):
        encode_labels(pd.Series(["a", None, "b"], name="y"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.inf], "holds infinite numbers"),
        (pd.to_datetime(["2026-01-01", "2026-01-02"]), "a data function of your own"),
        ([[1], [2]], "neither numbers, text nor booleans"),
    ],
)
def test_a_column_without_a_code_is_an_error(values: Any, message: str) -> None:
    with pytest.raises(BadSetup, match=f"column 'x' {message}|column 'x'.*{message}"):
        encode(pd.DataFrame({"x": values}))


def test_an_unknown_split_is_an_error(table: pd.DataFrame, tmp_path: Path) -> None:
    source = TabularSource(written(tmp_path, table), "survived")
    with pytest.raises(ValueError, match=r"unknown split 'valid'; did you mean 'validation'\?"):
        load_table(source, "valid", ALL)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_the_validation_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        TabularSource(Path("x.csv"), "y", share)


def test_what_the_file_lacks_is_told(table: pd.DataFrame, tmp_path: Path) -> None:
    file = written(tmp_path, table)
    for source, message in [
        (TabularSource(tmp_path / "none.csv", "y"), r"no file .*none\.csv"),
        (TabularSource(tmp_path / "table.xlsx", "y"), r"ends in \.csv, \.tsv or \.parquet"),
        (TabularSource(file, "surived"), "no label column 'surived'"),
        (TabularSource(file, "fares"), "'fares'; did you mean 'fare'"),
        (TabularSource(file, "fare", columns=("agee",)), "no column 'agee'; did you mean 'age'"),
        (TabularSource(file, "fare", columns=("age", "fare")), "'fare' is the label"),
    ]:
        with pytest.raises(BadSetup, match=message):
            load_table(source, "train", ALL)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "can't be read"),
        ("a.csv", b"x,y\n1,2\n1,2,3,4\n", "can't be read"),
        ("a.csv", b"x,y\n\xff\xfe,2\n", "can't be read"),
        ("a.parquet", b"PAR?", "can't be read"),
        ("a.csv", b"x,y\n1,2\n", "1 rows are too few"),
    ],
)
def test_a_broken_file_is_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadSetup, match=message):
        load_table(TabularSource(tmp_path / name, "y"), "train", ALL)


def test_missing_packages_are_told(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, table)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with monkeypatch.context() as patched:
        without(patched, "pandas")
        with pytest.raises(BadSetup, match=r"needs pandas: pip install 'dotrain\[tabular\]'"):
            load_table(TabularSource(file, "survived"), "train", ALL)
    with monkeypatch.context() as patched:
        without(patched, "pyarrow", "fastparquet")
        with pytest.raises(BadSetup, match=r"needs pyarrow: pip install 'dotrain\[tabular\]'"):
            load_table(TabularSource(tmp_path / "t.parquet", "y"), "train", ALL)
