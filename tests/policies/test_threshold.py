"""Bounds of the metric beyond which a trial is stopped."""

import pytest

from dotrain.core.trial import Trial
from dotrain.earlystop.threshold import ThresholdStop


def told(rule: ThresholdStop, value: float, steps: list[int]) -> str:
    trial = Trial({}, trial_id="t0000", step_history=steps)
    trial.metric_history = [0.0] * (len(steps) - 1) + [value]
    answers = [rule.earlystop_check({"t0000": trial}, [], one) for one in ("max", "min")]  # type: ignore[arg-type]
    assert answers[0] == answers[1], "the bounds are the metric's, whatever is better"
    return answers[0].get("t0000", "")


def test_what_is_out_of_bounds_is_stopped_and_a_bound_is_within() -> None:
    both = ThresholdStop(lower=-1.0, upper=2.0)
    assert [told(both, value, [0]) for value in (-1.0, 0.0, 2.0)] == [""] * 3
    assert told(both, -1.5, [0]) == "-1.5 is below lower -1 at step 0"
    assert told(both, 2.5, [0]) == "2.5 is above upper 2 at step 0"
    assert told(ThresholdStop(lower=0.0), 1e9, [0]) == ""
    assert told(ThresholdStop(upper=0.0), -1e9, [0]) == ""
    assert told(ThresholdStop(upper=0.0), 1e-9, [0])


@pytest.mark.parametrize("first", [0, 1], ids=["counts from 0", "counts from 1"])
def test_so_many_steps_are_free(first: int) -> None:
    rule = ThresholdStop(upper=1.0, min_steps=3)
    stops = [n for n in range(1, 6) if told(rule, 9.0, list(range(first, first + n)))]
    assert stops == [4, 5]


def test_bounds_that_can_not_be_are_refused() -> None:
    with pytest.raises(ValueError, match="needs lower, upper or both"):
        ThresholdStop()
    with pytest.raises(ValueError, match="lower 2 is over upper 1; swap them"):
        ThresholdStop(lower=2.0, upper=1.0)
    ThresholdStop(lower=1.0, upper=1.0)
