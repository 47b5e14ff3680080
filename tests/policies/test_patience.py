"""Patience: what Keras' EarlyStopping would do, told by a plain re-computation."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core.instructions import Stop
from dotrain.core.policy import Direction
from dotrain.core.trial import Trial
from dotrain.earlystop.patience import PatienceStop
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Float, Searchspace
from dotrain.testing import simulate

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))


def used_up(history: list[float], patience: int, min_delta: float, direction: Direction) -> bool:
    """What Keras does at the end of the last epoch, in its words."""
    best, wait = (float("-inf") if direction == "max" else float("inf")), 0
    for current in history:
        wait += 1
        if current - min_delta > best if direction == "max" else current + min_delta < best:
            best, wait = current, 0
    return wait >= patience


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    patience=st.integers(1, 4),
    min_delta=st.sampled_from([0.0, 1.0, 2.5]),
    direction=st.sampled_from(["max", "min"]),
    losing=st.sampled_from([0.0, 0.4]),
    checkpoints=st.booleans(),
    repeating=st.sampled_from([0.0, 0.4]),
    promotes=st.booleans(),
)
def test_it_stops_where_keras_would(
    seed: int,
    patience: int,
    min_delta: float,
    direction: Direction,
    losing: float,
    checkpoints: bool,
    repeating: float,
    promotes: bool,
) -> None:
    differ: list[tuple[str, list[float]]] = []
    asked = 0

    class Watched(PatienceStop):
        def earlystop_check(self, to_check, finalized_trials, direction):  # type: ignore[no-untyped-def]
            nonlocal asked
            asked += 1
            told = super().earlystop_check(to_check, finalized_trials, direction)
            for trial_id, trial in to_check.items():
                history = list(trial.metric_history)
                if (trial_id in told) != used_up(history, patience, min_delta, direction):
                    differ.append((trial_id, history))
            return told

    run = simulate(
        ASHA(resource_min=3, resource_max=9) if promotes else RandomSearch(),
        Watched(patience=patience, min_delta=min_delta),
        lambda params, step, trial_seed: float(Random(f"{trial_seed}/{step}").randrange(9)),
        space=SPACE,
        num_trials=12,
        direction=direction,
        seed=seed,
        steps=9,
        losing=losing,
        checkpoints=checkpoints,
        repeating=repeating,
    )
    assert asked
    assert not differ
    reasons = [i.reason for _, _, out in run.log for i in out if isinstance(i, Stop)]
    assert all("no better than" in reason and " at step " in reason for reason in reasons)


def judged(rule: PatienceStop, values: list[float], direction: Direction = "max") -> list[bool]:
    trial = Trial({}, trial_id="t0000", attempt=1)
    told = []
    for step, value in enumerate(values):
        trial.step_history.append(step)
        trial.metric_history.append(value)
        rule.on_report(trial, step, value)
        told.append(bool(rule.earlystop_check({"t0000": trial}, [], direction)))
    return told


def test_small_gains_add_up_until_they_are_an_improvement() -> None:
    rule = PatienceStop(patience=3, min_delta=0.25)
    assert judged(rule, [0.0, 0.125, 0.25, 0.375, 0.5, 0.625]) == [False] * 6
    rule.initialize()
    assert judged(rule, [0.0, 0.125, 0.25, 0.25]) == [False, False, False, True]


def test_a_value_that_is_replaced_counts_as_it_is_now() -> None:
    rule = PatienceStop(patience=1)
    trial = Trial({}, trial_id="t0000", attempt=1, step_history=[0], metric_history=[0.5])
    rule.on_report(trial, 0, 0.5)
    trial.step_history.append(1)
    trial.metric_history.append(0.4)
    rule.on_report(trial, 1, 0.4)
    assert rule.earlystop_check({"t0000": trial}, [], "max")
    for value, stops in ((0.6, False), (0.5, True), (0.7, False)):
        trial.metric_history[-1] = value
        rule.on_replaced(trial, 1, value)
        assert bool(rule.earlystop_check({"t0000": trial}, [], "max")) == stops


@pytest.mark.parametrize("from_step", [0, 1, 2])
def test_an_attempt_that_goes_back_has_the_patience_that_it_had_there(from_step: int) -> None:
    rule = PatienceStop(patience=2)
    trial = Trial({}, trial_id="t0000", attempt=1)
    values = [0.5, 0.4, 0.6]
    for step, value in enumerate(values):
        trial.step_history.append(step)
        trial.metric_history.append(value)
        rule.on_report(trial, step, value)
    trial.attempt = 2
    trial.cut_off(from_step)
    for step in range(from_step, 3):
        trial.step_history.append(step)
        trial.metric_history.append(0.1)
        rule.on_report(trial, step, 0.1)
        told = bool(rule.earlystop_check({"t0000": trial}, [], "max"))
        assert told == used_up(list(trial.metric_history), 2, 0.0, "max")
