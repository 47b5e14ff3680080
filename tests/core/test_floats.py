"""A row of numbers is what a list of them is, in less room."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.core.floats import Floats
from dotrain.core.trial import Trial

values = st.floats(allow_nan=False)
places = st.integers(-4, 4)
slices = st.builds(slice, st.none() | places, st.none() | places)
changes = st.one_of(
    st.tuples(st.just("append"), values),
    st.tuples(st.just("extend"), st.lists(values, max_size=3)),
    st.tuples(st.just("insert"), places, values),
    st.tuples(st.just("pop")),
    st.tuples(st.just("reverse")),
    st.tuples(st.just("__setitem__"), places, values),
    st.tuples(st.just("__setitem__"), slices, st.lists(values, max_size=3)),
    st.tuples(st.just("__delitem__"), places | slices),
    st.tuples(st.just("__getitem__"), places | slices),
    st.tuples(st.just("__contains__"), values),
)


def outcome(row: Any, name: str, *arguments: Any) -> Any:
    try:
        return getattr(row, name)(*arguments)
    except IndexError:
        return IndexError


@given(st.lists(values, max_size=5), st.lists(changes, max_size=10))
def test_whatever_is_done_with_it_it_stays_equal_to_a_list(
    begin: list[float], done: list[tuple[Any, ...]]
) -> None:
    row, model = Floats(begin), list(begin)
    for name, *arguments in done:
        assert outcome(row, name, *arguments) == outcome(model, name, *arguments)
        assert row == model
        assert model == row
    assert list(map(repr, row)) == list(map(repr, model))  # to the last bit, and the sign of 0
    assert (len(row), bool(row), repr(row)) == (len(model), bool(model), repr(model))
    assert row == Floats(model) == copy.deepcopy(row) == pickle.loads(pickle.dumps(row))
    assert row != [*model, 1.0]
    assert row != Floats([*model, 1.0])


def test_it_is_no_other_kind_of_thing() -> None:
    assert Floats([1.0]) != (1.0,)
    with pytest.raises(TypeError):
        hash(Floats())
    with pytest.raises(TypeError):
        Floats().append("1")  # type: ignore[arg-type]


def test_a_trial_keeps_its_reports_in_one() -> None:
    trial, other = Trial({}), Trial({})
    trial.metric_history.append(0.5)
    assert (trial.metric_history, other.metric_history) == ([0.5], [])
    assert max(trial.metric_history) == trial.metric_history[-1] == 0.5
