"""Which columns tell another one: none that does so by chance, and every one that does so by what it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dotrain.data.determined import Determined


def goes_with(one: list[Any], other: list[Any]) -> bool:
    seen: dict[Any, Any] = {}
    return all(seen.setdefault(a, b) == b for a, b in zip(one, other, strict=True))


def arrow(values: list[Any]) -> Any:
    import pyarrow as pa

    return pa.array(values)


COLUMN = st.sampled_from([[0, 1], [None, 0], ["a"], ["a", "b", None], list(range(40))])


@given(
    st.lists(COLUMN, min_size=2, max_size=4), st.integers(2, 60), st.randoms(use_true_random=False)
)
def test_it_names_the_columns_that_determine_it_and_whose_agreement_is_no_chance(
    kinds: list[list[Any]], rows: int, random: Any
) -> None:
    columns = [[random.choice(kind) for _ in range(rows)] for kind in kinds]
    # One that does determine the first, by what it is.
    columns.append([f"{value}{random.choice('xy')}" for value in columns[0]])
    names = [f"c{i}" for i in range(len(columns))]
    found = Determined({name: arrow(column) for name, column in zip(names, columns, strict=True)})
    for left_out, wanted in zip(names, columns, strict=True):
        pairs = sum(wanted[i] == wanted[j] for i in range(rows) for j in range(i))
        agree = max(2 * pairs, 1) / (rows * (rows - 1))
        for name, column in zip(names, columns, strict=True):
            again = rows - len(set(column))
            expected = (
                name != left_out
                and goes_with(column, wanted)
                and again * math.log(agree) < math.log(1e-6)
            )
            assert found.of(left_out, [name]) == ((name,) if expected else ())


def test_an_id_a_constant_and_a_number_that_is_nearly_an_id_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    rows = 5000
    age = rng.normal(30, 10, rows).round(1)
    deck = rng.integers(0, 7, rows)
    age[:50] = np.nan
    columns = {
        "id": np.arange(rows),
        "name": np.minimum(np.arange(rows), rows - 3),
        "constant": np.zeros(rows),
        "age": age,
        "months": age * 12,
        "band": age // 10,
        "deck": deck,
        "letter": arrow([None if one == 3 else "ABCDEFG"[one] for one in deck]).dictionary_encode(),
        "survived": rng.integers(0, 2, rows).astype(bool),
        # Breaks after the first rows that are looked at.
        "nearly": np.where(np.arange(rows) == rows - 1, 9, deck * 0),
    }
    found = Determined(columns)
    told = {name: found.of(name, list(columns)) for name in columns}
    assert told == {
        **dict.fromkeys(columns, ()),
        "age": ("months",),
        "months": ("age",),
        "band": ("age", "months"),
        "deck": ("letter",),
        "letter": ("deck",),
    }
