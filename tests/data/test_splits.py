"""Which rows are validated on: laws of each way to divide them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.data.source import BadData
from dotrain.data.splits import Split, validation_rows

SHARES = st.floats(0.05, 0.95)


@settings(max_examples=60, deadline=None)
@given(size=st.integers(2, 300), share=SHARES)
def test_by_chance_the_share_is_met_and_neither_side_is_empty(size: int, share: float) -> None:
    chosen = validation_rows(Split(share), size, {}, None)
    assert 0 < chosen.sum() < size
    assert abs(chosen.sum() - size * share) <= 1
    assert (chosen == validation_rows(Split(share), size, {}, None)).all()


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.sampled_from([*"abcdefgh", None]), min_size=2, max_size=100), share=SHARES
)
def test_the_rows_of_a_group_stay_together(groups: list[str | None], share: float) -> None:
    if len(set(groups)) == 1:
        with pytest.raises(BadData, match="no row would be trained on"):
            validation_rows(Split(share, by="g"), len(groups), {"g": pa.array(groups)}, None)
        return
    chosen = validation_rows(Split(share, by="g"), len(groups), {"g": pa.array(groups)}, None)
    sides = {(group, bool(side)) for group, side in zip(groups, chosen, strict=True)}
    assert len(sides) == len(set(groups))
    assert 0 < chosen.sum() < len(groups)


@settings(max_examples=60, deadline=None)
@given(times=st.lists(st.integers(0, 20), min_size=2, max_size=100), share=SHARES)
def test_nothing_is_validated_on_that_is_older_than_what_is_trained_on(
    times: list[int], share: float
) -> None:
    if len(set(times)) == 1:
        with pytest.raises(BadData, match="no row would be trained on"):
            validation_rows(Split(share, time="t"), len(times), {"t": pa.array(times)}, None)
        return
    try:
        chosen = validation_rows(Split(share, time="t"), len(times), {"t": pa.array(times)}, None)
    except BadData as error:  # most rows are of the first moment
        assert "no row would be trained on" in str(error)  # noqa: PT017
        return
    moments = np.array(times)
    assert moments[~chosen].max() < moments[chosen].min()


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.sampled_from("abc"), min_size=2, max_size=100), share=SHARES)
def test_each_label_has_its_share_of_both_sides(labels: list[str], share: float) -> None:
    counts = {label: labels.count(label) for label in set(labels)}
    split = Split(share, stratify=True)
    if 1 in counts.values():
        with pytest.raises(BadData, match="only one row has the label"):
            validation_rows(split, len(labels), {}, pa.array(labels))
        return
    chosen = validation_rows(split, len(labels), {}, pa.array(labels))
    for label, count in counts.items():
        own = sum(side for one, side in zip(labels, chosen, strict=True) if one == label)
        assert 0 < own < count
        assert abs(own - count * share) <= 1


def test_a_missing_time_is_told() -> None:
    with pytest.raises(BadData, match="column 't': 1 of 3 have no time"):
        validation_rows(Split(time="t"), 3, {"t": pa.array([1, None, 2])}, None)
