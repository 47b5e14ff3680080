"""What the scheduler does at the edges: errors of plugins, limits, slots that are short."""

from __future__ import annotations

from typing import Any

import pytest

from dotrain.core.events import (
    Diverged,
    Event,
    Failed,
    Finished,
    Interrupted,
    Lost,
    Noted,
    Reported,
    Resumed,
    SlotsChanged,
    Started,
    TimePassed,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Finish, Kill, Launch, Stop
from dotrain.core.limits import Limits
from dotrain.core.policy import (
    WAIT,
    AbstractEarlyStop,
    AbstractOptimizer,
    Plan,
    Promotion,
    Rung,
    sign_of,
)
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial, TrialState
from dotrain.earlystop.none import NoStop
from dotrain.errors import PolicyError
from dotrain.space import Discrete, Float, Searchspace

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))
BROKEN = Failure(FailureKind.EXCEPTION, "ValueError: no")


class Suggests(AbstractOptimizer):
    """Suggests what a test tells it to, or raises it."""

    def __init__(self, *suggestions: Any) -> None:
        self.suggestions = list(suggestions)
        self.told: list[str] = []

    def initialize(self) -> None:
        pass

    def get_suggestion(self, trial: Trial | None = None) -> Any:
        if trial is not None:
            self.told.append(f"{trial.trial_id} {trial.state}")
        answer = self.suggestions.pop(0) if self.suggestions else None
        if isinstance(answer, Exception):
            raise answer
        return answer


class Asked(AbstractEarlyStop):
    """Notes what it is asked, and answers as it is told to."""

    def __init__(self, answer: Any = None, breaks_at: str = "") -> None:
        self.answer, self.breaks_at = answer, breaks_at
        self.asked: list[tuple[Any, ...]] = []

    def _note(self, *what: Any) -> None:
        self.asked.append(what)
        if what[0] == self.breaks_at:
            raise ZeroDivisionError("of a plugin")

    def on_report(self, trial: Trial, step: int, value: float) -> None:
        self._note("report", step, value)

    def on_replaced(self, trial: Trial, step: int, value: float) -> None:
        self._note("replaced", step, value)

    def on_end(self, trial: Trial) -> None:
        self._note("end", trial.trial_id)

    def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> Any:
        self._note("check", list(to_check), [t.trial_id for t in finalized_trials], direction)
        return self.answer(to_check) if callable(self.answer) else self.answer


def trials(count: int, **fields: Any) -> list[Trial]:
    return [Trial({"x": n / 10}, **fields) for n in range(count)]


def make(
    *suggestions: Any,
    rule: AbstractEarlyStop | None = None,
    per_trial: int = 1,
    num_trials: int | None = 9,
    direction: Any = "max",
    **limits: Any,
) -> Scheduler:
    optimizer = Suggests(*suggestions)
    optimizer.setup(SPACE, num_trials, direction, 0)
    optimizer.initialize()
    return Scheduler(
        optimizer,
        rule or NoStop(),
        direction=direction,
        limits=Limits(**limits),
        slots_per_trial=per_trial,
    )


def launched(out: list[Any]) -> list[str]:
    return [one.trial_id for one in out if isinstance(one, Launch)]


# Slots.


def test_a_lost_trial_waits_until_there_is_room_and_goes_before_new_ones() -> None:
    scheduler = make(*trials(5))
    scheduler.handle(SlotsChanged(2), 0.0)
    scheduler.handle(SlotsChanged(1), 1.0)
    assert scheduler.handle(Lost("t0000", 1, "its worker died"), 2.0) == []
    assert scheduler.book.trials["t0000"].state is TrialState.WAITING
    scheduler.validate()
    scheduler.handle(Started("t0001", 1), 3.0)
    out = scheduler.handle(Finished("t0001", 1, 0.5), 4.0)
    assert launched(out) == ["t0000"]
    assert out[0].reason == "try 2 after: its worker died"
    assert launched(scheduler.handle(SlotsChanged(2), 5.0)) == ["t0002"]
    scheduler.validate()


def test_a_run_whose_last_trial_waits_for_a_slot_is_not_over() -> None:
    scheduler = make(*trials(1), num_trials=1)
    scheduler.handle(SlotsChanged(2), 0.0)
    scheduler.handle(SlotsChanged(0), 1.0)
    assert scheduler.handle(Lost("t0000", 1, "its worker died"), 2.0) == []
    assert scheduler.status is None
    scheduler.validate()


def test_a_run_whose_last_trial_is_tried_elsewhere_is_not_over() -> None:
    scheduler = make(*trials(2), num_trials=2)
    scheduler.handle(SlotsChanged(2, hosts={"a": 1, "b": 1}), 0.0)
    scheduler.handle(Started("t0000", 1, hosts=["a"]), 0.1)
    assert scheduler.handle(Failed("t0001", 1, BROKEN, host="b"), 0.2) == []
    scheduler.validate()
    out = scheduler.handle(Finished("t0000", 1, 0.5, host="a"), 1.0)
    assert launched(out) == ["t0001"]
    assert out[0].avoid == ("b",)
    assert out[0].reason.endswith("after: failed on b: ValueError: no")


def test_a_host_that_is_left_alone_waits_for_no_other() -> None:
    scheduler = make(*trials(2), num_trials=2)
    scheduler.handle(SlotsChanged(2, hosts={"a": 1, "b": 1}), 0.0)
    scheduler.handle(Started("t0000", 1, hosts=["a"]), 0.1)
    scheduler.handle(Started("t0001", 1, hosts=["b"]), 0.1)
    assert scheduler.handle(Lost("t0000", 1, "it died", "process", host="a"), 0.2) == []
    assert scheduler.handle(SlotsChanged(1, hosts={"a": 1, "b": 0}), 0.3) == []
    gone = Lost("t0001", 1, "its worker is gone", host="b")
    assert launched(scheduler.handle(gone, 0.4)) == ["t0000"]
    out = scheduler.handle(Lost("t0000", 2, "its files are lost", host="a"), 0.5)
    assert launched(out) == ["t0001"]
    scheduler.validate()


def test_a_host_waits_for_no_trial_that_was_stopped_and_lost() -> None:
    class AtOnce(AbstractEarlyStop):
        def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> Any:
            return list(to_check)

    scheduler = make(*trials(3), rule=AtOnce())
    scheduler.handle(SlotsChanged(2, hosts={"a": 1, "b": 1}), 0.0)
    scheduler.handle(Started("t0001", 1, hosts=["a"]), 0.0)
    scheduler.handle(Failed("t0000", 1, BROKEN, host="b"), 0.1)
    assert scheduler.book.hosts.closed(1) == {"b"}
    scheduler.handle(Finished("t0001", 1, 0.5, host="a"), 1.0)
    scheduler.handle(Started("t0000", 2, hosts=["a"]), 1.1)
    scheduler.handle(Reported("t0000", 2, 0, 0.5), 1.2)
    scheduler.handle(Lost("t0000", 2, "its worker died", host="a"), 1.3)
    assert scheduler.book.trials["t0000"].state is TrialState.STOPPED
    assert scheduler.book.hosts.are_all_open
    scheduler.validate()


def test_lost_trials_are_launched_again_in_the_order_of_their_losses() -> None:
    scheduler = make(*trials(3))
    scheduler.handle(SlotsChanged(3), 0.0)
    scheduler.handle(SlotsChanged(0), 1.0)
    for trial_id in ("t0002", "t0000", "t0001"):
        assert scheduler.handle(Lost(trial_id, 1, "gone"), 2.0) == []
    assert launched(scheduler.handle(SlotsChanged(1), 3.0)) == ["t0002"]
    assert launched(scheduler.handle(SlotsChanged(3), 3.0)) == ["t0000", "t0001"]


def test_trials_of_several_slots_are_launched_when_all_are_there() -> None:
    scheduler = make(*trials(5), per_trial=2)
    assert scheduler.handle(SlotsChanged(1), 0.0) == []
    assert launched(scheduler.handle(SlotsChanged(2), 0.0)) == ["t0000"]
    assert scheduler.handle(SlotsChanged(3), 0.0) == []
    assert launched(scheduler.handle(SlotsChanged(6), 0.0)) == ["t0001", "t0002"]
    assert scheduler.book.held == 6
    scheduler.handle(SlotsChanged(3), 0.0)
    assert scheduler.handle(Lost("t0000", 1, "gone"), 1.0) == []
    assert launched(scheduler.handle(SlotsChanged(6), 1.0)) == ["t0000"]


def test_to_wait_while_there_are_too_few_slots_is_no_fault() -> None:
    scheduler = make(WAIT, WAIT, per_trial=2)
    assert scheduler.handle(SlotsChanged(1), 0.0) == []
    with pytest.raises(PolicyError, match=r"returned WAIT while no trial is running"):
        scheduler.handle(SlotsChanged(2), 0.0)


def test_one_that_waits_is_asked_again_at_the_next_end_and_not_before() -> None:
    scheduler = make(*trials(1), WAIT, WAIT, *trials(2))
    assert launched(scheduler.handle(SlotsChanged(3), 0.0)) == ["t0000"]
    scheduler.handle(Started("t0000", 1), 0.0)
    assert launched(scheduler.handle(SlotsChanged(2), 0.0)) == []
    assert launched(scheduler.handle(Finished("t0000", 1, 0.5), 0.0)) == ["t0001", "t0002"]


# Plugins.


@pytest.mark.parametrize("what", ["report", "replaced", "end", "check"])
def test_an_exception_in_a_rule_names_the_rule_and_its_line(what: str) -> None:
    scheduler = make(*trials(2), rule=Asked(breaks_at=what))
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    events: list[Event] = [
        Reported("t0000", 1, 0, 0.5),
        Reported("t0000", 1, 0, 0.6, replaces=1),
        Finished("t0000", 1, 0.5),
    ]
    with pytest.raises(PolicyError) as caught:
        [scheduler.handle(event, 1.0) for event in events]
    assert str(caught.value).startswith("early-stop rule Asked raised ZeroDivisionError: of a")
    assert __file__ in str(caught.value)


@pytest.mark.parametrize("last", [Interrupted("Ctrl-C"), Resumed({}, 9, 1)])
def test_an_exception_in_a_rule_names_it_too_when_a_stopped_trial_ends_with_its_driver(
    last: Event,
) -> None:
    scheduler = make(*trials(2), rule=Asked(answer=list, breaks_at="end"))
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    assert [type(one) for one in scheduler.handle(Reported("t0000", 1, 0, 0.5), 1.0)] == [Stop]
    with pytest.raises(PolicyError, match="early-stop rule Asked raised ZeroDivisionError"):
        scheduler.handle(last, 2.0)


@pytest.mark.parametrize(
    ("answer", "stops"),
    [
        (None, False),
        ((), False),
        ({}, False),
        ("t0000", True),
        (["t0000"], True),
        ({"t0000"}, True),
        ({"t0000": "too slow"}, True),
        (lambda to_check: to_check["t0000"], True),
        (lambda to_check: to_check.values(), True),
        (["t0001"], False),
    ],
)
def test_a_rule_answers_with_trials_or_ids_one_or_many(answer: Any, stops: bool) -> None:
    scheduler = make(*trials(2), rule=Asked(answer))
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    out = scheduler.handle(Reported("t0000", 1, 0, 0.5), 1.0)
    assert [one.trial_id for one in out if isinstance(one, Stop)] == ["t0000"] * stops


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (["t0000"], "Asked"),
        ({"t0000": "too slow"}, "too slow"),
        ({"t0000": ""}, "Asked"),
        (lambda to_check: {to_check["t0000"]: "too slow"}, "too slow"),
    ],
)
def test_a_stop_has_the_reason_of_the_rule_or_its_name(answer: Any, reason: str) -> None:
    scheduler = make(*trials(2), rule=Asked(answer))
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    (stop,) = scheduler.handle(Reported("t0000", 1, 0, 0.5), 1.0)
    assert isinstance(stop, Stop)
    assert stop.reason == f"stopped t0000 at step 0: {reason}"


@pytest.mark.parametrize("answer", [True, 7, [7], {7: "why"}, [["t0000"]]])
def test_an_answer_of_a_rule_that_means_nothing_is_refused(answer: Any) -> None:
    scheduler = make(*trials(2), rule=Asked(answer))
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    with pytest.raises(PolicyError, match=r"Asked returned .*; expected trials or their ids"):
        scheduler.handle(Reported("t0000", 1, 0, 0.5), 1.0)


def test_an_exception_in_an_optimizer_names_it() -> None:
    scheduler = make(ZeroDivisionError("of a plugin"))
    with pytest.raises(PolicyError, match=r"optimizer Suggests raised ZeroDivisionError"):
        scheduler.handle(SlotsChanged(1), 0.0)


def test_hyperparameters_that_no_journal_can_hold_are_refused() -> None:
    scheduler = make(Trial({"x": object()}))
    with pytest.raises(PolicyError, match=r"optimizer Suggests suggested hyperparameter .*x"):
        scheduler.handle(SlotsChanged(1), 0.0)


def test_a_rule_is_asked_at_every_report_but_the_last_of_the_budget() -> None:
    rule = Asked(answer=lambda to_check: list(to_check.values()))
    scheduler = make(*trials(1, budget=3), rule=rule, direction="min")
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    assert scheduler.handle(Reported("t0000", 1, 2, 0.5), 1.0) == []
    assert rule.asked == [("report", 2, 0.5)]
    scheduler.handle(Lost("t0000", 1, "gone"), 1.0)
    scheduler.handle(Started("t0000", 2), 1.0)
    (stop,) = scheduler.handle(Reported("t0000", 2, 1, 0.5), 1.0)
    assert rule.asked[1:] == [("report", 1, 0.5), ("check", ["t0000"], [], "min")]
    assert (stop.trial_id, stop.attempt) == ("t0000", 2)  # type: ignore[attr-defined]
    assert stop.reason == "stopped t0000 at step 1: Asked"
    assert scheduler.handle(Reported("t0000", 2, 2, 0.5), 1.0) == []
    assert scheduler.handle(Reported("t0000", 2, 3, 0.5), 1.0) == []
    assert [what for what, *_ in rule.asked] == ["report", "report", "check", "report", "report"]


@pytest.mark.parametrize(
    ("answer", "stopped", "why"),
    [
        (["t0001"], ["t0001"], "Asked"),
        ({"t0000": "too slow", "t0001": ""}, ["t0000", "t0001"], "too slow"),
        (["t0000", "t0002", "t0099"], ["t0000"], "Asked"),
        ([], [], ""),
        (None, [], ""),
    ],
)
def test_a_rule_stops_what_runs_and_has_reported_by_trial_by_id_or_with_a_reason(
    answer: Any, stopped: list[str], why: str
) -> None:
    scheduler = make(*trials(3), rule=Asked())
    scheduler.handle(SlotsChanged(3), 0.0)
    for trial_id in ("t0000", "t0001", "t0002"):
        scheduler.handle(Started(trial_id, 1), 0.0)
    scheduler.handle(Reported("t0001", 1, 0, 0.1), 0.0)
    scheduler._early_stop.answer = answer  # type: ignore[attr-defined]
    out = scheduler.handle(Reported("t0000", 1, 0, 0.1), 0.0)
    assert [one.trial_id for one in out if isinstance(one, Stop)] == stopped
    assert not stopped or out[0].reason == f"stopped {stopped[0]} at step 0: {why}"


def test_suggestions_have_a_reason_whoever_gives_none() -> None:
    first, second = trials(1, budget=1) + trials(1, reason="why not")
    scheduler = make(first, Promotion("t0000", 3), second)
    (launch,) = scheduler.handle(SlotsChanged(1), 0.0)
    assert launch.reason == "suggested by Suggests"
    scheduler.handle(Started("t0000", 1), 0.0)
    (launch,) = scheduler.handle(Finished("t0000", 1, 0.5), 0.0)
    assert (launch.reason, launch.budget) == ("promoted by Suggests", 3)  # type: ignore[attr-defined]
    scheduler.handle(Started("t0000", 2), 0.0)
    (launch,) = scheduler.handle(Finished("t0000", 2, 0.5), 0.0)
    assert launch.reason == "why not"


def test_more_trials_than_num_trials_are_not_taken() -> None:
    scheduler = make(*trials(5), num_trials=2)
    assert launched(scheduler.handle(SlotsChanged(5), 0.0)) == ["t0000", "t0001"]
    assert launched(make(*trials(5), num_trials=None).handle(SlotsChanged(5), 0.0)) == [
        f"t{n:04d}" for n in range(5)
    ]


# Ends.


def end(scheduler: Scheduler, event: type[Event], *arguments: Any) -> list[Any]:
    """End the trial that runs, whichever it is."""
    (trial,) = scheduler.book.active.values()
    scheduler.handle(Started(trial.trial_id, trial.attempt), 0.0)
    return scheduler.handle(event(trial.trial_id, trial.attempt, *arguments), 0.0)  # type: ignore[call-arg]


def test_a_resumed_run_counts_failures_anew() -> None:
    scheduler = make(*trials(9), max_failures=2)
    scheduler.handle(SlotsChanged(1), 0.0)
    end(scheduler, Failed, BROKEN)
    assert end(scheduler, Failed, BROKEN)[-1].status == "failed"
    scheduler.handle(Resumed({"max_failures": 2}), 1.0)
    assert scheduler.status is None
    scheduler.handle(SlotsChanged(1), 1.0)
    end(scheduler, Failed, BROKEN)
    assert scheduler.status is None
    out = end(scheduler, Failed, BROKEN)
    assert out[-1].reason.startswith("2 trials in a row failed (limits.max_failures); the last: ")


@pytest.mark.parametrize(("first", "status"), [("diverge", "failed"), ("finish", None)])
def test_a_resumed_run_still_knows_whether_any_trial_had_a_value(
    first: str, status: str | None
) -> None:
    scheduler = make(*trials(9), max_failures=2)
    scheduler.handle(SlotsChanged(1), 0.0)
    if first == "diverge":
        end(scheduler, Diverged, "reported nan")
    else:
        end(scheduler, Finished, 0.5)
    scheduler.handle(Interrupted("Ctrl-C"), 0.0)
    scheduler.handle(Resumed({"max_failures": 2}), 1.0)
    scheduler.handle(SlotsChanged(1), 1.0)
    end(scheduler, Diverged, "reported nan")
    assert scheduler.status is None
    end(scheduler, Diverged, "reported nan")
    assert scheduler.status == status


def test_a_trial_that_diverges_between_failures_counts_as_neither() -> None:
    scheduler = make(*trials(9), max_failures=2)
    scheduler.handle(SlotsChanged(1), 0.0)
    for event, argument in [(Failed, BROKEN), (Diverged, "nan"), (Diverged, "nan")]:
        end(scheduler, event, argument)
        assert scheduler.status is None
    end(scheduler, Failed, BROKEN)
    assert scheduler.status == "failed"


def test_a_run_resumed_with_more_trials_asks_again_and_with_fewer_does_not() -> None:
    for more, limit, expected in [(4, 4, ["t0002", "t0003"]), (1, 2, []), (None, 2, [])]:
        scheduler = make(*trials(9), num_trials=2)
        scheduler.handle(SlotsChanged(2), 0.0)
        for trial_id in ("t0000", "t0001"):
            scheduler.handle(Started(trial_id, 1), 0.0)
            scheduler.handle(Finished(trial_id, 1, 0.5), 0.0)
        assert scheduler.status == "finished"
        scheduler.handle(Resumed({}, more), 1.0)
        assert launched(scheduler.handle(SlotsChanged(2), 1.0)) == expected
        assert scheduler._optimizer.num_trials == limit


def test_nothing_but_resuming_changes_a_run_that_is_over() -> None:
    scheduler = make(*trials(3), max_time_s=10.0)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Interrupted("Ctrl-C"), 1.0)
    before = scheduler.book.trials["t0000"].state
    for event in (Started("t0000", 1), SlotsChanged(4), Interrupted("again"), TimePassed()):
        assert scheduler.handle(event, 20.0) == []
        assert (scheduler.status, scheduler.slots) == ("interrupted", 1)
    assert scheduler.book.trials["t0000"].state is before
    assert scheduler.handle(Resumed({}, slots_per_trial=2), 21.0) == []
    assert (scheduler.status, scheduler.slots, scheduler.next_deadline()) == (None, 0, None)
    assert scheduler.handle(SlotsChanged(1), 21.0) == []
    (launch,) = scheduler.handle(SlotsChanged(2), 21.0)
    assert (launch.trial_id, launch.attempt, launch.slots) == ("t0000", 2, 2)  # type: ignore[attr-defined]


def test_time_outs_count_from_each_start_and_the_time_limit_ends_all() -> None:
    scheduler = make(*trials(4), trial_timeout_s=10.0, max_time_s=25.0, retries=5)
    assert scheduler.next_deadline() == 25.0
    scheduler.handle(SlotsChanged(2), 0.0)
    scheduler.handle(Started("t0000", 1), 1.0)
    scheduler.handle(Started("t0001", 1), 3.0)
    scheduler.handle(Noted("t0001", 1, "over budget", "so it is"), 3.0)
    assert scheduler.next_deadline() == 11.0
    scheduler.handle(Lost("t0000", 1, "gone"), 4.0)
    scheduler.handle(Started("t0000", 2), 5.0)
    assert scheduler.handle(TimePassed(), 11.0) == []
    assert scheduler.next_deadline() == 13.0
    kill, launch = scheduler.handle(TimePassed(), 14.0)
    assert (kill.trial_id, kill.timeout, launch.trial_id) == ("t0001", True, "t0002")  # type: ignore[attr-defined]
    assert kill.reason == "ran longer than 10 s (limits.trial_timeout_s)"
    error = scheduler.book.trials["t0001"].error
    assert error is not None
    assert error.kind is FailureKind.TIMEOUT
    out = scheduler.handle(Started("t0002", 1), 25.0)
    # The time limit comes first: who is over both has not failed.
    assert [type(one) for one in out] == [Kill, Kill, Finish]
    assert (out[-1].reason, out[-1].status) == (  # type: ignore[attr-defined]
        "25 s have passed (limits.max_time_s)",
        "time_limit",
    )
    assert scheduler.book.counts[TrialState.WAITING] == 2


def test_time_outs_that_end_the_run_end_every_other_attempt() -> None:
    scheduler = make(*trials(4), trial_timeout_s=1.0, max_failures=2)
    scheduler.handle(SlotsChanged(2), 0.0)
    for trial_id in ("t0000", "t0001"):
        scheduler.handle(Started(trial_id, 1), 0.0)
    out = scheduler.handle(TimePassed(), 1.0)
    assert scheduler.status == "failed"
    assert isinstance(out[-1], Finish)
    scheduler.validate()


def test_an_end_that_was_decided_before_an_interrupt_is_told_when_the_run_goes_on() -> None:
    rule = Asked(answer=lambda to_check: list(to_check))
    scheduler = make(*trials(3), rule=rule)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    scheduler.handle(Reported("t0000", 1, 0, 0.7), 0.0)
    scheduler.handle(Interrupted("Ctrl-C"), 1.0)
    trial = scheduler.book.trials["t0000"]
    assert (trial.state, trial.final_metric) == (TrialState.STOPPED, 0.7)
    assert rule.asked[-1] == ("end", "t0000")
    scheduler.handle(Resumed({}), 2.0)
    scheduler.handle(SlotsChanged(1), 2.0)
    assert scheduler._optimizer.told == ["t0000 stopped"]  # type: ignore[attr-defined]


def test_news_is_told_from_what_is_late() -> None:
    scheduler = make(*trials(3))
    scheduler.handle(SlotsChanged(1), 0.0)
    for event, news in [
        (Started("t0000", 1), True),
        (Started("t0000", 1), False),
        (Reported("t0000", 1, 0, 0.5), True),
        (Reported("t0000", 1, 0, 0.5), False),
        (Reported("t0000", 1, 0, 0.6, replaces=1), True),
        (Reported("t0000", 1, 0, 0.6, replaces=1), False),
        (Finished("t0001", 1, 0.5), False),
        (TimePassed(), True),
    ]:
        scheduler.handle(event, 0.0)
        assert scheduler.took_in == news, event


# The interface.


def test_a_score_is_larger_when_it_is_better() -> None:
    assert (sign_of("max"), sign_of("min")) == (1.0, -1.0)
    optimizer = Suggests()
    for direction, score in (("max", 2.0), ("min", -2.0)):
        optimizer.setup(SPACE, 1, direction, 0)  # type: ignore[arg-type]
        assert optimizer.score(2.0) == score


def test_a_plan_counts_steps_by_its_rungs() -> None:
    plan = Plan(9, 13, (Rung(2, 9), Rung(6, 3), Rung(18, 1)))
    assert plan.steps == 9 * 2 + 3 * 4 + 1 * 12
    assert plan.steps_from_scratch == 9 * 2 + 3 * 6 + 1 * 18
    assert (Plan(9, 9).steps, Plan(9, 9).steps_from_scratch, Plan(9, 9).notes) == (None, None, ())


@pytest.mark.parametrize(
    ("num_trials", "tries_once", "at_most", "notes"),
    [(2, True, 2, 0), (3, True, 3, 0), (4, True, 3, 1), (4, False, 4, 0), (None, True, None, 0)],
)
def test_a_finite_space_bounds_the_configurations_of_those_that_try_once(
    num_trials: int | None, tries_once: bool, at_most: int | None, notes: int
) -> None:
    optimizer = Suggests()
    optimizer.tries_once = tries_once
    optimizer.setup(Searchspace(n=Discrete(values=[1, 2, 3])), num_trials, "max", 0)
    found, told = optimizer.configurations_at_most()
    assert (found, len(told)) == (at_most, notes)


def test_a_draw_of_ones_own_is_used_and_tried_once() -> None:
    optimizer = Suggests()
    optimizer.setup(Searchspace(n=Discrete(values=[1, 2, 3])), 3, "max", 0)
    answers = iter([3, 3, 1])
    draws = [optimizer.draw_untried(lambda: {"n": next(answers)}) for _ in range(2)]
    assert draws == [{"n": 3}, {"n": 1}]
    optimizer.create_trial({"n": 2})
    assert optimizer.draw_untried() is None
    optimizer.setup(SPACE, 3, "max", 0)
    assert optimizer.draw_untried(lambda: {"x": 0.25}) == {"x": 0.25}
    assert optimizer.draw_untried() != optimizer.draw_untried()


def test_a_rule_may_be_written_without_self_or_with_it() -> None:
    class Without(AbstractEarlyStop):
        def earlystop_check(to_check, finalized_trials, direction):  # type: ignore[no-untyped-def]
            return [direction]

    class With(AbstractEarlyStop):
        def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> Any:
            return [direction]

    class Loose(AbstractEarlyStop):
        def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any = 0) -> Any:
            return [direction]

    for rule in (Without(), With(), Loose()):
        assert rule.earlystop_check({}, [], "max") == ["max"]
