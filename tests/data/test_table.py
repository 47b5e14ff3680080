"""The declared table: what is read, split, encoded and refused."""

from __future__ import annotations

import builtins
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.data.declared import Declared
from dotrain.data.encoding import encode
from dotrain.data.facts import Measure
from dotrain.data.files import FileSource
from dotrain.data.preparing import prepare
from dotrain.data.source import BadData
from dotrain.data.splits import Split
from dotrain.data.table import Table


def ready(file: Path, label: str, share: float = 0.2, columns: Any = None) -> Table:
    """Return the table of a file, made ready."""
    declared = Declared(FileSource(str(file)), label, columns, Split(share))
    return prepare(declared, file.parent / "runs")


def frame_of(table: Table, split: str, left_out: Sequence[str] = ()) -> Any:
    """Return the columns and labels of a split."""
    return table.frame(split, [name for name in table.columns if name not in left_out])


def arrays_of(table: Table, split: str, left_out: Sequence[str] = ()) -> Any:
    """Return a split as arrays."""
    return table.arrays(split, [name for name in table.columns if name not in left_out])


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
    source = ready(written(tmp_path, table, suffix), "survived", 0.25)
    frame, labels = frame_of(source, "validation")
    assert list(frame.columns) == ["age", "class", "alone", "fare"]
    expected = table.loc[frame.index]
    assert frame["fare"].to_numpy() == pytest.approx(expected["fare"].to_numpy())
    assert list(frame["class"]) == list(expected["class"])
    assert list(labels) == list(expected["survived"])
    assert len(frame) == 25


def test_the_splits_share_no_row_and_miss_none(table: pd.DataFrame, tmp_path: Path) -> None:
    source = ready(written(tmp_path, table), "survived")
    train, _ = frame_of(source, "train")
    validation, _ = frame_of(source, "validation")
    assert sorted([*train.index, *validation.index]) == list(range(101))
    assert len(validation) == 20


def test_the_split_is_the_same_whatever_is_left_out(table: pd.DataFrame, tmp_path: Path) -> None:
    source = ready(written(tmp_path, table), "survived")
    every, _ = frame_of(source, "validation")
    fewer, _ = frame_of(source, "validation", ["class", "age"])
    assert list(every.index) == list(fewer.index)
    assert list(fewer.columns) == ["alone", "fare"]


def test_the_split_stays_what_it_was(tmp_path: Path) -> None:
    ten = pd.DataFrame({"x": range(10), "y": range(10)})
    frame, _ = frame_of(ready(written(tmp_path, ten), "y", 0.3), "validation")
    assert list(frame.index) == [2, 4, 8]


def test_only_the_columns_that_are_named_are_given(table: pd.DataFrame, tmp_path: Path) -> None:
    source = ready(written(tmp_path, table), "survived", columns=("fare", "age"))
    assert list(frame_of(source, "train")[0].columns) == ["fare", "age"]
    assert set(source.facts) == {"fare", "age", "survived"}


def test_arrays_are_scaled_by_the_training_rows_alone(table: pd.DataFrame, tmp_path: Path) -> None:
    validated = list(frame_of(ready(written(tmp_path, table), "survived"), "validation")[0].index)
    # What only validation rows hold is no category, and their values move no mean.
    table.loc[validated, "fare"] += 1e6
    table.loc[validated[0], "class"] = "crew"
    source = ready(written(tmp_path, table), "survived")
    train, train_labels = arrays_of(source, "train")
    validation, validation_labels = arrays_of(source, "validation")
    assert train.shape == (81, 1 + 3 + 2 + 1)
    assert validation.shape == (20, 7)
    assert train.dtype == validation.dtype == np.float32
    assert train[:, [0, 6]].mean(axis=0) == pytest.approx([0, 0], abs=1e-6)
    assert train[:, [0, 6]].std(axis=0) == pytest.approx([1, 1], abs=1e-6)
    assert (validation[:, 6] > 1e4).all()
    rows, raw = frame_of(source, "validation")
    assert list(validation_labels) == [int(label == "yes") for label in raw]
    assert set(train_labels) == {0, 1}
    # One-hot by sorted order: 1st, 2nd, 3rd.
    assert list(validation[:, 3]) == [float(value == "3rd") for value in rows["class"]]
    assert not validation[0, 1:4].any()
    assert np.isfinite(train).all()


def test_without_any_column_there_is_one_of_zeros(table: pd.DataFrame, tmp_path: Path) -> None:
    source = ready(written(tmp_path, table), "survived")
    rows, labels = arrays_of(source, "train", source.columns)
    assert rows.shape == (81, 1)
    assert not rows.any()
    assert len(labels) == 81
    assert frame_of(source, "train", source.columns)[0].shape == (81, 0)


def encoded(values: Any) -> Any:
    """Return a column as numbers, all of its rows being trained on."""
    import pyarrow as pa

    frame = pa.Table.from_pandas(pd.DataFrame({"x": values}), preserve_index=False)
    measure = Measure(frame.schema, (), {})
    measure.add(frame, np.ones(len(frame), bool))
    return encode(frame, list(measure.facts().values()))


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
    ],
)
def test_every_kind_of_column_has_its_code(values: Any, expected: list[list[float]]) -> None:
    found = encoded(values)
    # Rows of no width are those of a table without columns.
    wanted = np.array(expected, float)
    wanted = wanted if wanted.size else np.zeros((len(values), 0))
    assert found.shape == wanted.shape
    assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 1, 2], [3, 1, 2]),
        ([0.5, 1.5, 2.5], [0.5, 1.5, 2.5]),
        (["yes", "no", "yes"], [1, 0, 1]),
        ([True, False, True], [1, 0, 1]),
    ],
)
def test_labels_are_numbers(values: Any, expected: list[float], tmp_path: Path) -> None:
    table = ready(written(tmp_path, pd.DataFrame({"x": range(3), "y": values}), ".parquet"), "y")
    labels = {}
    for split in ("train", "validation"):
        rows, _ = frame_of(table, split)
        numbers = arrays_of(table, split)[1]
        assert numbers.dtype.kind in "if"
        labels |= dict(zip(rows.index, numbers, strict=True))
    assert [labels[row] for row in range(3)] == expected


def test_a_missing_label_is_an_error(tmp_path: Path) -> None:
    file = written(tmp_path, pd.DataFrame({"x": range(3), "y": ["a", None, "b"]}))
    with pytest.raises(BadData, match="label column 'y': 1 of 3 are missing"):
        ready(file, "y")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.inf], "holds infinite numbers"),
        (pd.to_datetime(["2026-01-01", "2026-01-02"]), "a data function of your own"),
        ([[1], [2]], "neither numbers, text nor booleans"),
    ],
)
def test_a_column_without_a_code_is_an_error(values: Any, message: str) -> None:
    with pytest.raises(BadData, match=f"column 'x' {message}|column 'x'.*{message}"):
        encoded(values)


def test_an_unknown_split_is_an_error(table: pd.DataFrame, tmp_path: Path) -> None:
    source = ready(written(tmp_path, table), "survived")
    with pytest.raises(ValueError, match=r"unknown split 'valid'; did you mean 'validation'\?"):
        frame_of(source, "valid")


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_the_validation_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Split(share)


def test_what_the_file_lacks_is_told(table: pd.DataFrame, tmp_path: Path) -> None:
    file = written(tmp_path, table)
    for (path, label, columns), message in [
        ((tmp_path / "none.csv", "y", None), r"no file .*none\.csv"),
        ((tmp_path / "table.xlsx", "y", None), r"ends in \.csv, \.tsv, \.parquet, \.feather or"),
        ((file, "surived", None), "no label column 'surived'"),
        ((file, "fares", None), "'fares'; did you mean 'fare'"),
        ((file, "fare", ("agee",)), "no column 'agee'; did you mean 'age'"),
        ((file, "fare", ("age", "fare")), "'fare' is the label"),
    ]:
        with pytest.raises(BadData, match=message):
            ready(path, label, columns=columns)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "can't be read"),
        ("a.csv", b"x,y\n1,2\n1,2,3,4\n", r"a\.csv:3: a row of 4 cells, but the header has 2"),
        ("a.csv", b"x,y\n1,2,3\n1,2,3\n", r"a\.csv:2: a row of 3 cells, but the header has 2"),
        ("a.csv", b"x,y\n1,2\n\n1\n", r"a\.csv:4: a row of 1 cell, but the header has 2"),
        ("a.csv", b'x,y\n1,"2\n1,2\n', r"can't be read|a row of"),
        ("a.csv", b"x,y\n\xff\xfe,2\n", "is not UTF-8 text; save it as UTF-8"),
        ("a.csv", b"x,y\n1,2\na\0b,2\n", r"a\.csv:3: holds a NUL byte"),
        ("a.csv", b"x\0,y\n1,2\n1,2\n", r"a\.csv:1: holds a NUL byte"),
        ("a.csv", "x,y\n1,2\n".encode("utf-16"), "is not UTF-8 text; save it as UTF-8"),
        ("a.parquet", b"PAR?", "can't be read"),
        ("a.csv", b"x,y\n1,2\n", "1 rows are too few"),
    ],
)
def test_a_broken_file_is_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData, match=message):
        ready(tmp_path / name, "y")


def test_missing_packages_are_told(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, table)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with monkeypatch.context() as patched:
        without(patched, "pandas")
        with pytest.raises(BadData, match=r"needs pandas: pip install 'dotrain\[tabular\]'"):
            ready(file, "survived")
    with monkeypatch.context() as patched:
        without(patched, "pyarrow", "fastparquet")
        with pytest.raises(BadData, match=r"needs pyarrow: pip install 'dotrain\[tabular\]'"):
            ready(tmp_path / "t.parquet", "y")


def rows_of(folder: Path, text: str, label: str = "y") -> pd.DataFrame:
    """What both splits of a CSV file hold, in the order of the file."""
    (folder / "t.csv").write_text(text, encoding="utf-8")
    source = ready(folder / "t.csv", label)
    parts = [frame_of(source, split) for split in ("train", "validation")]
    return pd.concat([frame.assign(y=labels) for frame, labels in parts]).sort_index()


def test_text_is_what_it_says_and_only_an_empty_cell_is_missing(tmp_path: Path) -> None:
    text = "country,age,y\nNA,1,yes\nNL,,no\nNone,3,null\n,4,nan\n"
    frame = rows_of(tmp_path, text)
    assert list(frame["country"].fillna("-")) == ["NA", "NL", "None", "-"]
    assert list(frame["age"].fillna(0)) == [1, 0, 3, 4]
    assert list(frame["y"]) == ["yes", "no", "null", "nan"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["1", "NA", "3"],
            r"holds numbers and the text 'NA' \(1 of 3 rows\): leave the cell empty",
        ),
        (["1", "nan", "nan"], r"holds numbers and the text 'nan' \(2 of 3 rows\)"),
        (["1", " ", "3"], r"holds numbers and the text ' ' \(1 of 3 rows\)"),
        (["1", "2", "?"], r"holds numbers and the text '\?'"),
        (["1", '"1,234"', "3"], "holds numbers like '1,234': write 1234.5"),
        (['"1,5"', '"2,5"', "NA"], "holds numbers like '1,5': write 1234.5"),
        (["1.234.567", "2.345.678", ""], "holds numbers like '1.234.567'"),
        (
            [*map(str, range(20)), "12a"],
            r"holds numbers, but for text such as '12a' \(1 of 21 rows\)",
        ),
        (["007", "12", "1"], "holds numbers and '007': write numbers without a 0 in front"),
    ],
)
def test_numbers_with_text_among_them_are_refused(
    tmp_path: Path, cells: list[str], message: str
) -> None:
    """Else a column of numbers would become one of categories, without a word."""
    for column, label in (("x", "y"), ("y", "x")):
        text = f"{column},{label}\n" + "".join(f"{cell},{n}\n" for n, cell in enumerate(cells))
        with pytest.raises(BadData, match=rf"t\.csv: column '{column}' {message}"):
            rows_of(tmp_path, text)


@pytest.mark.parametrize(
    "cells",
    [
        ["01234", "99999", "00001"],
        ["A1", "12", "B2"],
        ["36", "38", "M", "L"],
        ["True", "maybe", "False"],
        ["NA", "NA", "?"],
        ["2026-01-01", "2026-02-01"],
    ],
)
def test_text_with_digits_in_it_stays_text(tmp_path: Path, cells: list[str]) -> None:
    text = "x,y\n" + "".join(f"{cell},{n}\n" for n, cell in enumerate(cells))
    assert list(rows_of(tmp_path, text)["x"]) == cells


@settings(deadline=None, max_examples=50)
@given(
    cells=st.lists(
        st.one_of(
            st.none(),
            st.integers(-(10**30), 10**30),
            st.integers(-(10**5), 10**5),
            st.floats(allow_nan=False, allow_infinity=False, width=32),
        ),
        min_size=2,
        max_size=30,
    )
)
def test_numbers_are_the_numbers_that_are_written_or_refused(cells: list[float | None]) -> None:
    """Whole numbers as floats may become one: then they are refused, and only then."""
    are_floats = not all(
        isinstance(cell, int) and -(2**63) <= cell < 2**63 for cell in cells
    ) and not all(isinstance(cell, int) and 0 <= cell < 2**64 for cell in cells)
    whole = [cell for cell in cells if isinstance(cell, int)]
    lost = are_floats and any(int(float(cell)) != cell for cell in whole)
    with tempfile.TemporaryDirectory() as folder:
        text = "x,y\n" + "".join(f"{'' if c is None else c},{n}\n" for n, c in enumerate(cells))
        if lost:
            with pytest.raises(BadData, match="which has more digits than a float holds"):
                rows_of(Path(folder), text)
            return
        frame = rows_of(Path(folder), text)
    for found, cell in zip(frame["x"], cells, strict=True):
        if isinstance(cell, int):
            assert int(found) == cell
        else:
            assert found == pytest.approx(cell or np.nan, rel=1e-6, nan_ok=True) or found == cell


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (",a,y", r"column 1 has no name \(a saved index\? write it with index=False\)"),
        ("a, ,y", "column 2 has no name"),
        ("a,y,", "column 3 has no name"),
        ("Unnamed: 0,a,y", "column 1, 'Unnamed: 0', is a saved index: write it with index=False"),
        ("__index_level_0__,a,y", "column 1, '__index_level_0__', is a saved index"),
        ("a,y,a", "columns 1 and 3 are both named 'a'"),
        ("a, a,y", "columns 1 and 2 are both named 'a'"),
        ("y,a,y", "columns 1 and 3 are both named 'y'"),
    ],
)
def test_a_column_without_a_name_of_its_own_is_refused(
    tmp_path: Path, header: str, message: str
) -> None:
    with pytest.raises(BadData, match=rf"t\.csv: {message}"):
        rows_of(tmp_path, f"{header}\n1,2,3\n4,5,6\n")


def test_a_long_text_is_read(tmp_path: Path) -> None:
    frame = rows_of(tmp_path, f"x,y\n{'u' * 200_000},0\nv,1\n")
    assert list(frame["x"].str.len()) == [200_000, 1]


def test_large_numbers_may_be_written_in_any_way(tmp_path: Path) -> None:
    cells = ["9007199254740992.", "+9007199254740994", " 1E+20 ", "-inf", "1.2345e30", ""]
    found = rows_of(tmp_path, "x,y\n" + "".join(f"{cell},{n}\n" for n, cell in enumerate(cells)))
    expected = [2.0**53, 2.0**53 + 2, 1e20, -np.inf, 1.2345e30, np.nan]
    np.testing.assert_array_equal(found["x"], expected)


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    assert list(rows_of(tmp_path, "\ufeffx,y\n1,2\n3,4\n")["x"]) == [1, 3]


def test_a_parquet_files_index_is_no_column(table: pd.DataFrame, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = tmp_path / "t.parquet"
    shuffled = table.sample(frac=1, random_state=0)
    shuffled.to_parquet(file)
    assert [one.name for one in FileSource(str(file)).declared() or ()] == list(table.columns)
    frame, _ = frame_of(ready(file, "survived"), "train")
    assert list(frame.columns) == ["age", "class", "alone", "fare"]
    # Another program that writes the file anew makes a column of it.
    pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    with pytest.raises(BadData, match="column 6, '__index_level_0__', is a saved index"):
        ready(file, "survived")
    pq.write_table(pa.Table.from_arrays([pa.array([1, 2])] * 2, ["a", "a"]), file)
    with pytest.raises(BadData, match="columns 1 and 2 are both named 'a'"):
        ready(file, "a")
