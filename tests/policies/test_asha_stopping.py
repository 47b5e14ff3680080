"""ASHA's stopping variant against a plain re-computation."""

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core.events import Reported
from dotrain.core.instructions import Stop
from dotrain.core.policy import Direction
from dotrain.core.trial import Trial
from dotrain.earlystop.asha import ASHAStop
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Float, Searchspace
from dotrain.testing import simulate

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    workers=st.integers(1, 6),
    resource_min=st.integers(1, 4),
    resource_max=st.integers(5, 14),
    eta=st.integers(2, 4),
    direction=st.sampled_from(["max", "min"]),
    failing=st.sampled_from([0.0, 0.3]),
)
def test_it_stops_exactly_what_is_behind_the_quantile_of_its_rung(
    seed: int,
    workers: int,
    resource_min: int,
    resource_max: int,
    eta: int,
    direction: Direction,
    failing: float,
) -> None:
    run = simulate(
        RandomSearch(),
        ASHAStop(resource_min=resource_min, resource_max=resource_max, reduction_factor=eta),
        lambda params, step, trial_seed: float(Random(f"{trial_seed}/{step}").randrange(8)),
        space=SPACE,
        num_trials=25,
        direction=direction,
        seed=seed,
        workers=workers,
        failing=failing,
        steps=12,
    )
    sign = 1 if direction == "max" else -1
    budgets = [resource_min * eta**k for k in range(12) if resource_min * eta**k < resource_max]
    rungs: dict[int, list[float]] = {budget: [] for budget in budgets}
    stopping: set[str] = set()
    for _, event, instructions in run.log:
        stops = {i.trial_id for i in instructions if isinstance(i, Stop)}
        if isinstance(event, Reported):
            expected = False
            rung = rungs.get(event.step + 1)
            if rung is not None:
                rung.append(sign * event.value)
                # What syne-tune asks of a rung, the new value among its data.
                behind = sign * event.value < float(np.quantile(rung, 1 - 1 / eta)) - 1e-9
                expected = behind and event.trial_id not in stopping
            assert (event.trial_id in stops) == expected
            stopping |= stops


def test_half_of_the_trials_are_stopped_at_each_rung_and_the_reason_says_where() -> None:
    run = simulate(
        RandomSearch(),
        ASHAStop(resource_max=8, reduction_factor=2),
        lambda params, step, seed: params["x"],
        space=SPACE,
        num_trials=40,
        workers=1,
        steps=8,
    )
    reasons = [i.reason for _, _, out in run.log for i in out if isinstance(i, Stop)]
    at = [sum(f"at the rung of {rung} steps" in reason for reason in reasons) for rung in (1, 2, 4)]
    assert sum(at) == len(reasons)
    assert at[0] > 15
    assert all("not within the best 1/2 at step " in reason for reason in reasons)
    finished = run.scheduler.book.counts["finished"]  # type: ignore[index]
    assert 40 / 8 <= finished < 20


def report(rule: ASHAStop, trial: Trial, step: int, value: float) -> bool:
    """Let a trial report, and tell whether it is to stop."""
    trial.cut_off(step)
    trial.step_history.append(step)
    trial.metric_history.append(value)
    rule.on_report(trial, step, value)
    return bool(rule.earlystop_check({trial.trial_id: trial}, [], "max"))


@pytest.mark.parametrize("first", [0, 1], ids=["counts from 0", "counts from 1"])
def test_a_rung_is_a_number_of_steps_however_they_are_counted(first: int) -> None:
    rule = ASHAStop(resource_min=2, resource_max=9)
    best = Trial({}, trial_id="t0000", attempt=1)
    assert not any(report(rule, best, step, 1.0) for step in range(first, 9 + first))
    other = Trial({}, trial_id="t0001", attempt=1)
    stops = [step + 1 - first for step in range(first, 9 + first) if report(rule, other, step, 0.0)]
    assert stops == [2, 6], "after 2 and 6 steps, and not at its end"


def test_of_rungs_that_are_passed_in_one_go_the_highest_counts() -> None:
    rule = ASHAStop(resource_max=27)
    good = Trial({}, trial_id="t0000", attempt=1)
    assert not report(rule, good, 10, 1.0)
    assert rule.earlystop_check({"t0000": good}, [], "max") == {}
    bad = Trial({}, trial_id="t0001", attempt=1)
    assert not report(rule, bad, 1, 0.0), "it is the first at the rung of 1 step"
    assert not report(rule, bad, 5, 0.0)
    assert report(rule, bad, 11, 0.0), "the rung of 9 steps"
    assert not report(rule, bad, 12, 0.0), "it was judged there once"


def test_a_value_that_is_replaced_counts_as_it_is_now() -> None:
    rule = ASHAStop(resource_max=9)
    first = Trial({}, trial_id="t0000", attempt=1)
    report(rule, first, 0, 0.5)
    first.metric_history[-1] = 0.1
    rule.on_replaced(first, 0, 0.1)
    other = Trial({}, trial_id="t0001", attempt=1)
    assert not report(rule, other, 0, 0.2)
    other.metric_history[-1] = 0.05
    rule.on_replaced(other, 0, 0.05)
    assert rule.earlystop_check({"t0001": other}, [], "max")


def test_an_attempt_that_begins_again_has_reached_no_rung_yet() -> None:
    rule = ASHAStop(resource_max=27)
    lost = Trial({}, trial_id="t0000", attempt=1)
    for step in range(9):
        assert not report(rule, lost, step, 1.0)
    lost.attempt = 2
    report(rule, lost, 0, 0.3)
    other = Trial({}, trial_id="t0001", attempt=1)
    assert not report(rule, other, 0, 0.4), "0.3 counts there now, and not 1.0"
    for step in range(1, 9):
        assert not report(rule, other, step, 0.0), "nobody is at the higher rungs"


def test_an_optimizer_that_gives_budgets_is_refused() -> None:
    with pytest.raises(ValueError, match="ASHA gives trials budgets"):
        simulate(ASHA(resource_max=9), ASHAStop(resource_max=9), space=SPACE)


@pytest.mark.parametrize("low", [9, 10])
def test_without_a_rung_it_is_refused(low: int) -> None:
    with pytest.raises(ValueError, match=f"resource_min {low} is not below resource_max 9"):
        ASHAStop(resource_min=low, resource_max=9)
