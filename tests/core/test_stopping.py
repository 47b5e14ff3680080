"""Who is told to stop: trials whose time is up, and those that a person wants to end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.core.deadlines import TIME_DIGITS, Deadlines, first_after
from dotrain.core.events import (
    Finished,
    Lost,
    Reported,
    SlotsChanged,
    Started,
    StopAsked,
    TimePassed,
)
from dotrain.core.instructions import Stop
from dotrain.core.limits import Limits
from dotrain.core.policy import AbstractEarlyStop
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial, TrialState
from dotrain.earlystop.none import NoStop
from dotrain.errors import PolicyError
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Float, Searchspace


def begun(rule: AbstractEarlyStop | None = None, **limits: float) -> Scheduler:
    """Return a scheduler with one trial that has just started, at second 1."""
    optimizer = RandomSearch()
    optimizer.setup(Searchspace(x=Float(range=(0.0, 1.0))), num_trials=1, direction="max", seed=0)
    optimizer.initialize()
    scheduler = Scheduler(optimizer, rule or NoStop(), limits=Limits(**limits))  # type: ignore[arg-type]
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 1.0)
    return scheduler


def test_a_trial_that_has_trained_for_as_long_as_it_may_is_stopped_and_keeps_its_value() -> None:
    scheduler = begun(max_trial_time_s=10.0)
    assert scheduler.next_deadline() == 11.0
    scheduler.handle(Reported("t0000", 1, 0, 0.5), 10.0)
    (stop,) = scheduler.handle(TimePassed(), 11.0)
    reason = "stopped t0000 at step 0: trained for 10 s (limits.max_trial_time_s)"
    assert stop == Stop(reason, "t0000", 1)
    assert scheduler.next_deadline() is None
    scheduler.handle(Reported("t0000", 1, 1, 0.7), 12.0)
    trial = scheduler.book.trials["t0000"]
    assert trial.state is TrialState.STOPPING


def test_one_without_a_report_goes_on_to_its_first() -> None:
    scheduler = begun(max_trial_time_s=10.0)
    assert scheduler.handle(TimePassed(), 30.0) == []
    (stop,) = scheduler.handle(Reported("t0000", 1, 0, 0.5), 31.0)
    assert isinstance(stop, Stop)


def test_the_time_of_all_attempts_counts() -> None:
    scheduler = begun(max_trial_time_s=10.0)
    scheduler.handle(Reported("t0000", 1, 0, 0.5), 5.0)
    scheduler.handle(Lost("t0000", 1, "gone"), 7.0)
    scheduler.handle(Started("t0000", 2, resume_step=1), 20.0)
    assert scheduler.next_deadline() == 24.0
    assert scheduler.handle(Reported("t0000", 2, 1, 0.5), 23.9) == []
    assert scheduler.handle(TimePassed(), 24.0) != []


def test_at_the_last_step_of_its_budget_nothing_is_left_to_save() -> None:
    scheduler = begun(max_trial_time_s=10.0)
    scheduler.book.trials["t0000"].budget = 2
    scheduler.handle(Reported("t0000", 1, 0, 0.5), 2.0)
    assert scheduler.handle(Reported("t0000", 1, 1, 0.5), 12.0) == []
    assert scheduler.handle(TimePassed(), 13.0) == []


def test_who_asks_is_in_the_reason_and_a_trial_is_stopped_once() -> None:
    scheduler = begun()
    scheduler.handle(Reported("t0000", 1, 4, 0.5), 2.0)
    (stop,) = scheduler.handle(StopAsked("t0000", 1, "ann@lab", "too slow"), 3.0)
    assert stop.reason == "stopped t0000 at step 4: asked for by ann@lab: too slow"
    assert scheduler.handle(StopAsked("t0000", 1, "bob@lab"), 4.0) == []
    assert scheduler.handle(Reported("t0000", 1, 5, 0.5), 5.0) == []


def test_a_wish_outlives_a_lost_attempt_but_not_the_end_of_the_trial() -> None:
    scheduler = begun()
    assert scheduler.handle(StopAsked("t0000", 1, "ann@lab"), 2.0) == []
    scheduler.handle(Lost("t0000", 1, "gone"), 3.0)
    scheduler.handle(Started("t0000", 2), 4.0)
    (stop,) = scheduler.handle(Reported("t0000", 2, 0, 0.5), 5.0)
    assert stop.reason.endswith("asked for by ann@lab")
    over = begun()
    over.handle(StopAsked("t0000", 1, "ann@lab"), 2.0)
    over.handle(Finished("t0000", 1, 0.9), 3.0)
    assert over.book.trials["t0000"].state is TrialState.FINISHED
    assert over.handle(StopAsked("t0000", 1, "ann@lab"), 4.0) == []


@given(start_s=st.floats(0, 1e6), limit_s=st.floats(1e-9, 1e6))
def test_what_is_due_at_a_time_is_due_when_that_time_is_recorded(
    start_s: float, limit_s: float
) -> None:
    """A clock that stands where the next deadline is (in virtual time) must not stand there for ever."""
    start_s = round(start_s, TIME_DIGITS)
    deadlines = Deadlines()
    trial = Trial({}, trial_id="t0000")
    trial.started_s = start_s
    for limits in (Limits(trial_timeout_s=limit_s), Limits(max_trial_time_s=limit_s)):
        deadlines.begin(trial, limits, start_s)
        due_s = deadlines.next_s
        assert due_s is not None
        assert list(deadlines.take_due(round(due_s, TIME_DIGITS)))
        assert deadlines.next_s is None
    due_s = first_after(limit_s)
    assert round(due_s, TIME_DIGITS) == due_s >= limit_s


class Method(AbstractEarlyStop):
    def __init__(self, answer: Callable[[Trial], Any]) -> None:
        self.answer = answer

    def earlystop_check(self, trial, finalized_trials, direction):  # type: ignore[no-untyped-def]
        assert direction == "max"
        assert not finalized_trials
        return self.answer(trial)


class WithoutSelf(AbstractEarlyStop):
    def earlystop_check(trial, finalized_trials, direction):  # type: ignore[no-untyped-def]
        return trial.metric_history[-1] < 0.5


class Static(AbstractEarlyStop):
    @staticmethod
    def earlystop_check(trial, finalized_trials, direction):  # type: ignore[no-untyped-def]
        return trial if trial.metric_history[-1] < 0.5 else None


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (Method(lambda trial: trial.last_step == 0), "Method"),
        (Method(lambda trial: f"{trial.metric_history[-1]} is little"), "0.3 is little"),
        (Method(lambda trial: trial.trial_id), "Method"),
        (WithoutSelf(), "WithoutSelf"),
        (Static(), "Static"),
        (Method(lambda trial: ""), None),
        (Method(lambda trial: None), None),
    ],
)
def test_a_rule_may_look_at_one_trial(rule: AbstractEarlyStop, reason: str | None) -> None:
    scheduler = begun(rule)
    out = scheduler.handle(Reported("t0000", 1, 0, 0.3), 2.0)
    expected = [Stop(f"stopped t0000 at step 0: {reason}", "t0000", 1)] if reason else []
    assert out == expected


def test_a_rule_of_one_trial_can_not_name_another() -> None:
    scheduler = begun(Method(lambda trial: [trial]))
    with pytest.raises(
        PolicyError, match=r"rule Method raised TypeError: expected True, the reason"
    ):
        scheduler.handle(Reported("t0000", 1, 0, 0.3), 2.0)
