"""Columns as numbers, by what is known of them: the same in every arm, rank and split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dotrain.data.facts import Facts, numbers_of
from dotrain.data.source import BadData
from dotrain.data.splits import plain


def encode(table: Any, facts: Sequence[Facts]) -> NDArray[np.float32]:
    """Turn columns into a matrix.

    A number is scaled by the mean and the standard deviation of the training rows; a missing one becomes the mean. Any
    other column becomes one column of zeros and ones for each value that the training rows hold, in sorted order; a
    missing value is all zeros, and so is one that they don't hold. Without any column, there is one of zeros: rows of
    no width end the process in some frameworks.

    Args:
        table: An Arrow table or record batch that has them.
        facts: What is known of the columns to give, in their order.

    Returns:
        Of shape (rows, width), width being the sum of the widths.

    Raises:
        BadData: If a column can't be encoded.
    """
    for one in facts:
        if one.refusal:
            raise BadData(f"column '{one.name}' {one.refusal}", "columns")
    width = sum(one.width for one in facts)
    matrix = np.zeros((table.num_rows, width if facts else 1), np.float32)
    at = 0
    for one in facts:
        column = table[one.name]
        if one.kind == "number":
            numbers = numbers_of(column)
            if one.deviation:
                scaled = (numbers - one.mean) / one.deviation
                matrix[:, at] = np.where(np.isnan(scaled), 0.0, scaled)
        elif one.values:
            codes = _codes(column, one)
            rows = np.flatnonzero(codes >= 0)
            matrix[rows, at + codes[rows]] = 1
        at += one.width
    return matrix


def encode_labels(column: Any, facts: Facts) -> NDArray[Any]:
    """Turn labels into numbers: text and booleans by sorted order, from 0.

    Args:
        column: The Arrow column.
        facts: What is known of it, its values those of all rows.
    """
    from pyarrow import types

    if facts.kind == "number":
        is_plain = types.is_integer(column.type) or types.is_floating(column.type)
        numbers: NDArray[Any] = np.asarray(column) if is_plain else numbers_of(column)
        return numbers
    return _codes(column, facts).astype(np.int64)


def _codes(column: Any, facts: Facts) -> NDArray[np.int32]:
    """Return the place of each value among the known ones; -1 for any other."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain(column)
    if pa.types.is_null(column.type):
        return np.full(len(column), -1, np.int32)
    known = pa.array(list(facts.values), column.type)
    found = pc.fill_null(pc.index_in(column, value_set=known, skip_nulls=True), -1)
    codes: NDArray[np.int32] = np.asarray(found)
    return codes
