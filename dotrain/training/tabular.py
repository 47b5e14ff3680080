"""A table as the source of data: declared in the config, read and encoded here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dotrain.errors import did_you_mean
from dotrain.training.errors import BadSetup
from dotrain.training.table_files import TabularSource, read_file

SPLITS = ("train", "validation")


class Selection(Protocol):
    """Says which columns are to be given; `dotrain.ablation.study.Features` is one."""

    def select(self, columns: Iterable[str]) -> list[str]:
        """Return those of `columns` that are to be given, in their order."""


def load_table(source: TabularSource, split: str, features: Selection) -> tuple[Any, Any]:
    """Return one split as it stands in the file: a DataFrame of the columns, a Series of labels.

    The split by row is the same in all trials, whatever their seed.

    Args:
        source: The table.
        split: ``train`` or ``validation``.
        features: Which columns are given.

    Raises:
        ValueError: If there is no such split.
        BadSetup: If the table can't be had, with what to mend.
    """
    frame, labels = _read(source, features)
    rows = _rows_of(split, source, len(frame))
    return frame.iloc[rows], labels.iloc[rows]


def load_arrays(
    source: TabularSource, split: str, features: Selection
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return one split as a matrix and a vector of labels, ready to train on.

    The whole table is encoded before it is split, so that both splits have the same columns. Means
    and deviations are then those of all rows, those of the validation too.

    Where no column is given at all, the matrix is one column of zeros: rows of no width end the
    process in some frameworks.

    Args and errors are those of `load_table`.
    """
    frame, labels = _read(source, features)
    rows = _rows_of(split, source, len(frame))
    matrix = encode(frame) if len(frame.columns) else np.zeros((len(frame), 1), np.float32)
    return matrix[rows], encode_labels(labels)[rows]


def encode(frame: Any) -> NDArray[np.float32]:
    """Turn a whole table into a matrix.

    A column of numbers is scaled to mean 0 and standard deviation 1; a missing one becomes the
    mean. Any other column becomes one column of zeros and ones for each value it holds, in sorted
    order; a missing value is all zeros.

    Raises:
        BadSetup: If a column holds what is neither (dates, lists, infinite numbers).
    """
    parts = [_encode_column(frame[name]) for name in frame.columns]
    # A table without columns still has its rows.
    return np.concatenate([np.empty((len(frame), 0)), *parts], axis=1).astype(np.float32)


def encode_labels(labels: Any) -> NDArray[Any]:
    """Turn a whole column of labels into numbers: text and booleans by sorted order, from 0.

    Raises:
        BadSetup: If a label is missing.
    """
    missing = int(labels.isna().sum())
    if missing:
        raise BadSetup(f"label column '{labels.name}': {missing} of {len(labels)} are missing")
    if _is_number(labels):
        numbers: NDArray[Any] = labels.to_numpy()
        return numbers
    places = {value: place for place, value in enumerate(_values_of(labels))}
    return np.array([places[value] for value in labels], np.int64)


def _rows_of(split: str, source: TabularSource, size: int) -> NDArray[np.intp]:
    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}'{did_you_mean(split, list(SPLITS))}")
    if size < 2:
        raise BadSetup(f"{source.file}: {size} rows are too few to split")
    first = min(max(round(size * source.validation), 1), size - 1)
    # The only generator of NumPy's whose numbers are the same in all of its versions.
    shuffled = np.random.RandomState(0).permutation(size)
    return np.sort(shuffled[:first] if split == "validation" else shuffled[first:])


def _read(source: TabularSource, features: Selection) -> tuple[Any, Any]:
    """Read the file; return the columns to give, and the labels."""
    table = read_file(source.file)
    known = [name for name in table.columns if name != source.label]
    if source.label not in table.columns:
        hint = did_you_mean(source.label, known)
        raise BadSetup(f"{source.file} has no label column '{source.label}'{hint}")
    columns = known if source.columns is None else source.columns
    for name in columns:
        if name == source.label:
            raise BadSetup(f"column '{name}' is the label, and can't be predicted from")
        if name not in known:
            raise BadSetup(f"{source.file} has no column '{name}'{did_you_mean(name, known)}")
    return table[features.select(columns)], table[source.label]


def _is_number(column: Any) -> bool:
    from pandas.api import types

    return bool(types.is_numeric_dtype(column) and not types.is_bool_dtype(column))


def _values_of(column: Any) -> list[Any]:
    """Return what a column holds, each value once, sorted."""
    values = list(column.dropna().unique())
    try:
        return sorted(values)
    except TypeError:  # of several types
        return sorted(values, key=str)


def _encode_column(column: Any) -> NDArray[np.float64]:
    from pandas.api import types

    if _is_number(column):
        numbers: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(numbers).any():
            raise BadSetup(f"column '{column.name}' holds infinite numbers")
        present = numbers[~np.isnan(numbers)]
        numbers = np.where(np.isnan(numbers), present.mean() if present.size else 0.0, numbers)
        # A constant column has nothing to scale but rounding errors.
        if not present.size or present.min() == present.max():
            return np.zeros((len(column), 1))
        scaled: NDArray[np.float64] = (numbers - numbers.mean()) / numbers.std()
        return scaled.reshape(-1, 1)
    try:
        if types.is_datetime64_any_dtype(column) or types.is_timedelta64_dtype(column):
            raise TypeError
        values = _values_of(column)
    except TypeError:  # values that can't be told apart, such as lists
        raise BadSetup(
            f"column '{column.name}' holds neither numbers, text nor booleans: read the table in a "
            "data function of your own"
        ) from None
    hot = [(column == value).to_numpy(dtype=np.float64, na_value=0.0) for value in values]
    return np.stack(hot, axis=1) if hot else np.empty((len(column), 0))
