"""The scheduler through its one door: events in, instructions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

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
    Stopped,
    TimePassed,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Finish, Instruction, Kill, Launch, Stop
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.policy import WAIT, AbstractEarlyStop, AbstractOptimizer, Promotion
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import IllegalTransition, Trial, TrialState
from dotrain.earlystop.median import MedianStop
from dotrain.earlystop.none import NoStop
from dotrain.errors import PolicyError
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Float, Searchspace

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))
BROKEN = Failure(FailureKind.EXCEPTION, "ValueError: no")


def make(
    optimizer: AbstractOptimizer | None = None,
    early_stop: AbstractEarlyStop | None = None,
    num_trials: int | None = 4,
    slots: int = 1,
    **limits: Any,
) -> Scheduler:
    optimizer = optimizer or RandomSearch()
    optimizer.setup(SPACE, num_trials, "max", 0)
    optimizer.initialize()
    return Scheduler(
        optimizer, early_stop or NoStop(), limits=Limits(**limits), slots_per_trial=slots
    )


def partial(instruction: Instruction, kind: type[Instruction], **fields: Any) -> bool:
    """Whether an instruction is of a kind and has these fields; the rest may be anything."""
    return isinstance(instruction, kind) and all(
        getattr(instruction, name) == value for name, value in fields.items()
    )


class Suggests(AbstractOptimizer):
    """Suggests what a test tells it to."""

    def __init__(self, *suggestions: Any) -> None:
        self.suggestions = list(suggestions)
        self.told: list[str] = []

    def initialize(self) -> None:
        pass

    def get_suggestion(self, trial: Trial | None = None) -> Any:
        if trial is not None:
            self.told.append(f"{trial.trial_id} {trial.state}")
        return self.suggestions.pop(0) if self.suggestions else None


class StopAt(AbstractEarlyStop):
    """Stops every trial at a step, in the deck's form of the rule."""

    def earlystop_check(to_check, finalized_trials, direction):  # type: ignore[no-untyped-def]
        return [trial for trial in to_check.values() if trial.last_step == 2]


def test_slots_are_filled_and_refilled() -> None:
    scheduler = make(num_trials=3)
    first = scheduler.handle(SlotsChanged(2), 0.0)
    assert [i.trial_id for i in first if isinstance(i, Launch)] == ["t0000", "t0001"]
    assert scheduler.handle(Started("t0000", 1), 0.1) == []
    (launch,) = scheduler.handle(Finished("t0000", 1, 0.5), 0.2)
    assert partial(launch, Launch, trial_id="t0002", attempt=1, slots=1)
    assert scheduler.handle(Started("t0001", 1), 0.3) == []
    assert scheduler.handle(Finished("t0001", 1, 0.5), 0.4) == []
    scheduler.handle(Started("t0002", 1), 0.5)
    (finish,) = scheduler.handle(Finished("t0002", 1, 0.5), 0.6)
    assert partial(finish, Finish, status="finished")


def test_nothing_is_launched_without_slots_and_more_slots_take_more() -> None:
    scheduler = make()
    assert scheduler.handle(SlotsChanged(0), 0.0) == []
    assert len(scheduler.handle(SlotsChanged(1), 1.0)) == 1
    assert len(scheduler.handle(SlotsChanged(3), 2.0)) == 2


def test_slots_that_go_away_are_not_filled_again() -> None:
    scheduler = make()
    scheduler.handle(SlotsChanged(2), 0.0)
    scheduler.handle(Lost("t0000", 1, "its worker died"), 1.0)
    scheduler.handle(SlotsChanged(1), 1.0)
    scheduler.handle(Started("t0001", 1), 1.0)
    assert len(scheduler.book.active) <= 2


def test_a_trial_is_over_when_nobody_launches_it_again() -> None:
    class Ladder(Suggests):
        def may_continue(self, trial: Trial) -> bool:
            return False  # what it has promoted, it promotes no further

    optimizer = Ladder(Trial({"x": 0.1}, budget=1), Trial({"x": 0.2}), Promotion("t0000", 3))
    scheduler = make(optimizer, retries=1)
    scheduler.handle(SlotsChanged(2), 0.0)
    first, second = scheduler.book.trials.values()
    assert not scheduler.is_over(first)
    scheduler.handle(Started("t0000", 1), 0.0)
    scheduler.handle(Lost("t0001", 1, "its worker died"), 0.0)
    scheduler.handle(SlotsChanged(1), 0.0)
    assert scheduler.handle(Finished("t0000", 1, 0.5), 1.0) == []
    assert first.state is TrialState.FINISHED
    assert not scheduler.is_over(first), "its promotion waits for a slot"
    scheduler.handle(Lost("t0001", 2, "its worker died"), 2.0)
    assert (second.state, scheduler.is_over(second)) == (TrialState.FAILED, True)
    assert first.attempt == 2
    scheduler.handle(Started("t0000", 2), 3.0)
    scheduler.handle(Finished("t0000", 2, 0.5), 4.0)
    assert scheduler.is_over(first)


def test_a_lost_trial_is_launched_again_with_the_same_parameters_and_seed() -> None:
    scheduler = make(retries=2)
    (first,) = scheduler.handle(SlotsChanged(1), 0.0)
    (again,) = scheduler.handle(Lost("t0000", 1, "its worker died"), 1.0)
    assert isinstance(first, Launch)
    assert partial(again, Launch, trial_id="t0000", attempt=2, params=first.params, seed=first.seed)
    assert "its worker died" in again.reason


def test_a_trial_that_loses_every_worker_fails_and_the_search_goes_on() -> None:
    scheduler = make(retries=1)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Lost("t0000", 1, "killed by SIGKILL"), 1.0)
    (launch,) = scheduler.handle(Lost("t0000", 2, "killed by SIGKILL"), 2.0)
    assert partial(launch, Launch, trial_id="t0001")
    trial = scheduler.book.trials["t0000"]
    assert trial.state is TrialState.FAILED
    assert trial.error is not None
    assert trial.error.kind == "lost"
    assert "given up after 2 tries" in trial.error.message


def test_late_news_of_an_attempt_that_is_over_changes_nothing() -> None:
    scheduler = make(num_trials=1)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    scheduler.handle(Lost("t0000", 1, "its worker died"), 1.0)
    for late in (
        Reported("t0000", 1, 0, 0.5),
        Finished("t0000", 1, 0.5),
        Failed("t0000", 1, BROKEN),
        Lost("t0000", 1, "its worker died"),
        Reported("t9999", 1, 0, 0.5),
    ):
        assert scheduler.handle(late, 2.0) == []
    assert scheduler.book.trials["t0000"].attempt == 2
    assert scheduler.book.trials["t0000"].metric_history == []


def test_an_early_stop_is_asked_for_once_and_the_last_report_is_the_value() -> None:
    scheduler = make(early_stop=StopAt(), num_trials=1)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    for step in range(2):
        assert scheduler.handle(Reported("t0000", 1, step, 0.1 * step), 1.0) == []
    (stop,) = scheduler.handle(Reported("t0000", 1, 2, 0.2), 2.0)
    assert partial(stop, Stop, trial_id="t0000", attempt=1)
    assert stop.reason.startswith("stopped t0000 at step 2")
    assert scheduler.handle(Reported("t0000", 1, 3, 0.3), 2.0) == []
    scheduler.handle(Stopped("t0000", 1), 3.0)
    trial = scheduler.book.trials["t0000"]
    assert (trial.state, trial.final_metric) == (TrialState.STOPPED, 0.3)


def test_a_trial_that_returns_before_its_stop_arrives_has_finished() -> None:
    scheduler = make(early_stop=StopAt(), num_trials=1)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    scheduler.handle(Reported("t0000", 1, 2, 0.2), 1.0)
    scheduler.handle(Finished("t0000", 1, 0.9), 1.0)
    assert scheduler.book.trials["t0000"].state is TrialState.FINISHED


def test_failures_in_a_row_end_the_run_with_the_reason() -> None:
    scheduler = make(num_trials=100, max_failures=3)
    scheduler.handle(SlotsChanged(1), 0.0)
    for number, end in enumerate(["fail", "finish", "fail", "fail", "fail"]):
        trial_id = f"t{number:04d}"
        scheduler.handle(Started(trial_id, 1), number)
        assert scheduler.status is None
        out = scheduler.handle(
            Failed(trial_id, 1, BROKEN) if end == "fail" else Finished(trial_id, 1, 1.0), number
        )
    assert partial(out[-1], Finish, status="failed")
    assert "3 trials in a row failed" in out[-1].reason
    assert "ValueError: no" in out[-1].reason


def test_early_failures_on_many_slots_are_no_sign_of_a_broken_function() -> None:
    scheduler = make(num_trials=100, max_failures=3)
    scheduler.handle(SlotsChanged(8), 0.0)
    for number in range(7):
        scheduler.handle(Failed(f"t{number:04d}", 1, BROKEN), 1.0)
        assert scheduler.status is None
    out = scheduler.handle(Failed("t0007", 1, BROKEN), 1.0)
    assert partial(out[-1], Finish, status="failed")


def ends(scheduler: Scheduler, *outcomes: str) -> list[Instruction]:
    """Let trials, one after the other on one slot, end so; return what the last end led to."""
    out: list[Instruction] = []
    for number, outcome in enumerate(outcomes, len(scheduler.book.trials) - 1):
        name = (f"t{number:04d}", 1)
        scheduler.handle(Started(*name), number)
        assert scheduler.status is None
        end: dict[str, Event] = {
            "fail": Failed(*name, BROKEN),
            "diverge": Diverged(*name, "reported nan at step 0"),
            "finish": Finished(*name, 0.5),
        }
        out = scheduler.handle(end[outcome], number)
        scheduler.validate()
    return out


def test_a_trial_that_diverges_has_no_value_and_is_no_failure() -> None:
    optimizer = Suggests(*(Trial({"x": 0.1 * n}) for n in range(30)))
    scheduler = make(optimizer, num_trials=30, max_failures=3)
    scheduler.handle(SlotsChanged(1), 0.0)
    ends(scheduler, "finish", *["diverge"] * 20)
    assert scheduler.status is None
    assert optimizer.told[1] == "t0001 diverged"
    trial = scheduler.book.trials["t0001"]
    assert (trial.state, trial.final_metric, trial.error) == (TrialState.DIVERGED, None, None)
    assert [t.trial_id for t in scheduler.book.finalized] == ["t0000"]


def test_where_the_first_trials_all_diverge_the_run_ends() -> None:
    scheduler = make(num_trials=100, max_failures=3)
    scheduler.handle(SlotsChanged(1), 0.0)
    out = ends(scheduler, *["diverge"] * 3)
    assert partial(out[-1], Finish, status="failed")
    assert out[-1].reason == (
        "the first 3 trials all diverged (limits.max_failures); the last reported nan at step 0"
    )


def test_failures_between_diverged_trials_are_failures_in_a_row() -> None:
    scheduler = make(num_trials=100, max_failures=3)
    scheduler.handle(SlotsChanged(1), 0.0)
    out = ends(scheduler, "fail", "diverge", "fail", "diverge", "diverge", "diverge", "fail")
    assert partial(out[-1], Finish, status="failed")
    assert "3 trials in a row failed" in out[-1].reason


def test_a_promoted_trial_that_diverges_loses_the_value_it_had() -> None:
    optimizer = Suggests(Trial({"x": 0.1}, budget=1), Promotion("t0000", 3))
    scheduler = make(optimizer, num_trials=1)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    scheduler.handle(Finished("t0000", 1, 0.9), 1.0)
    scheduler.handle(Started("t0000", 2), 2.0)
    scheduler.handle(Diverged("t0000", 2, "returned inf"), 3.0)
    trial = scheduler.book.trials["t0000"]
    assert (trial.state, trial.final_metric) == (TrialState.DIVERGED, None)
    assert scheduler.book.finalized == []
    scheduler.validate()


def test_a_report_of_the_same_step_replaces_the_one_before() -> None:
    class Sees(AbstractEarlyStop):
        told: ClassVar[list[tuple[str, float]]] = []

        def on_report(self, trial: Trial, step: int, value: float) -> None:
            self.told.append(("report", value))

        def on_replaced(self, trial: Trial, step: int, value: float) -> None:
            self.told.append(("replaced", value))

        def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> Any:
            return [t for t in to_check.values() if t.metric_history[-1] < 0.3]

    scheduler = make(early_stop=Sees(), num_trials=1)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    scheduler.handle(Reported("t0000", 1, 0, 0.5), 1.0)
    (stop,) = scheduler.handle(Reported("t0000", 1, 0, 0.2, replaces=1), 2.0)
    # A stop that was decided stands, whatever replaces the report it was decided on.
    assert scheduler.handle(Reported("t0000", 1, 0, 0.6, replaces=2), 2.0) == []
    trial = scheduler.book.trials["t0000"]
    assert trial.state is TrialState.STOPPING
    assert (trial.step_history, trial.metric_history, trial.steps_run) == ([0], [0.6], 1)
    assert Sees.told == [("report", 0.5), ("replaced", 0.2), ("replaced", 0.6)]
    assert partial(stop, Stop, trial_id="t0000")
    assert trial.marks == [Mark.REPLACED]


def test_a_function_that_counts_anew_keeps_what_it_went_on_from() -> None:
    optimizer = Suggests(Trial({"x": 0.1}, budget=2), Promotion("t0000", 4))
    scheduler = make(optimizer, num_trials=1)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    for step in range(2):
        scheduler.handle(Reported("t0000", 1, step, 0.1), 0.0)
    scheduler.handle(Finished("t0000", 1, 0.1), 1.0)
    scheduler.handle(Started("t0000", 2, "w", 2), 2.0)
    what = "continued from step 2, but reported step 0; report checkpoint.step + n"
    scheduler.handle(Noted("t0000", 2, "recounted", what), 2.0)
    scheduler.handle(Reported("t0000", 2, 0, 0.2), 2.0)
    trial = scheduler.book.trials["t0000"]
    assert (trial.promotions, trial.continued) == (1, 1)
    assert trial.marks == [Mark.CONTINUED, Mark.RECOUNTED]
    assert trial.notes[Mark.RECOUNTED] == what


@pytest.mark.parametrize("codes", [("first", "second"), (None, "second", "first")])
def test_a_trial_that_has_run_other_code_is_marked(codes: tuple[str | None, ...]) -> None:
    """A header of an older version doesn't say which code it was; whoever goes on does."""
    optimizer = Suggests(Trial({"x": 0.1}))
    optimizer.setup(SPACE, 1, "max", 0)
    optimizer.initialize()
    scheduler = Scheduler(optimizer, NoStop(), code=codes[0])
    scheduler.handle(SlotsChanged(1), 0.0)
    trial = scheduler.book.trials["t0000"]
    for attempt, code in enumerate(codes, 1):
        assert (trial.attempt, trial.marks) == (attempt, [Mark.OTHER_CODE] * (attempt > 1))
        if attempt < len(codes):
            scheduler.handle(Interrupted("Ctrl-C"), 0.0)
            began_with = "first" if code is None else None
            scheduler.handle(Resumed({}, code=codes[attempt], began_with=began_with), 0.0)
            scheduler.handle(SlotsChanged(1), 0.0)


def test_an_attempt_over_its_time_out_is_killed_and_its_slot_used_again() -> None:
    scheduler = make(trial_timeout_s=10.0)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 1.0)
    assert scheduler.next_deadline() == 11.0
    assert scheduler.handle(TimePassed(), 10.9) == []
    kill, launch = scheduler.handle(TimePassed(), 11.0)
    assert partial(kill, Kill, trial_id="t0000", timeout=True)
    assert partial(launch, Launch, trial_id="t0001")
    assert scheduler.handle(Finished("t0000", 1, 1.0), 12.0) == []


def test_the_time_limit_and_an_interrupt_end_the_run_and_keep_what_was_running() -> None:
    for event, status in ((TimePassed(), "time_limit"), (Interrupted("Ctrl-C"), "interrupted")):
        scheduler = make(max_time_s=60.0)
        scheduler.handle(SlotsChanged(2), 0.0)
        kill_0, kill_1, finish = scheduler.handle(event, 60.0 if status == "time_limit" else 1.0)
        assert partial(kill_0, Kill, trial_id="t0000", timeout=False)
        assert partial(kill_1, Kill, trial_id="t0001")
        assert partial(finish, Finish, status=status)
        assert scheduler.book.counts[TrialState.WAITING] == 2
        assert scheduler.handle(Finished("t0000", 1, 1.0), 61.0) == []
        scheduler.validate()


def test_the_optimizer_is_told_of_every_end_exactly_once() -> None:
    optimizer = Suggests(*(Trial({"x": 0.1 * n}) for n in range(4)))
    scheduler = make(optimizer, early_stop=StopAt(), num_trials=4, retries=0)
    scheduler.handle(SlotsChanged(2), 0.0)
    for trial_id in ("t0000", "t0001"):
        scheduler.handle(Started(trial_id, 1), 0.0)
    scheduler.handle(Finished("t0000", 1, 0.5), 1.0)
    scheduler.handle(Failed("t0001", 1, BROKEN), 2.0)
    scheduler.handle(Lost("t0002", 1, "gone"), 3.0)
    scheduler.handle(Started("t0003", 1), 3.0)
    scheduler.handle(Reported("t0003", 1, 2, 0.5), 4.0)
    scheduler.handle(Stopped("t0003", 1), 5.0)
    assert optimizer.told[:3] == ["t0000 finished", "t0001 failed", "t0002 failed"]


def test_a_promotion_goes_on_with_the_same_trial() -> None:
    optimizer = Suggests(Trial({"x": 0.1}, budget=1), Promotion("t0000", 3, "why not"))
    scheduler = make(optimizer, num_trials=1)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    scheduler.handle(Reported("t0000", 1, 0, 0.1), 0.0)
    (launch,) = scheduler.handle(Finished("t0000", 1, 0.1), 1.0)
    assert partial(launch, Launch, trial_id="t0000", attempt=2, budget=3, reason="why not")
    scheduler.handle(Started("t0000", 2, "w", resume_step=1), 2.0)
    scheduler.handle(Reported("t0000", 2, 1, 0.2), 3.0)
    scheduler.handle(Finished("t0000", 2, 0.2), 3.0)
    trial = scheduler.book.trials["t0000"]
    assert trial.step_history == [0, 1]
    assert (trial.promotions, trial.continued, trial.steps_saved) == (1, 1, 1)
    assert [result.value for result in trial.results] == [0.1, 0.2]


def promoted(events: Sequence[Event]) -> Trial:
    """Return a trial that has 0.1 with a budget of 1, whose attempt with 3 meets these events."""
    scheduler = make(Suggests(Trial({"x": 0.1}, budget=1), Promotion("t0000", 3)), num_trials=1)
    scheduler.handle(SlotsChanged(1), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    scheduler.handle(Finished("t0000", 1, 0.1, unlike="another than was reported"), 1.0)
    assert scheduler.book.trials["t0000"].marks == [Mark.OTHER_VALUE]
    for event in (Started("t0000", 2), *events):
        scheduler.handle(event, 2.0)
        scheduler.validate()
    return scheduler.book.trials["t0000"]


def test_of_a_failed_promotion_the_value_is_kept_and_marked() -> None:
    trial = promoted([Failed("t0000", 2, Failure(FailureKind.EXCEPTION, "no memory"))])
    assert (trial.state, trial.final_metric) == (TrialState.FAILED, 0.1)
    assert trial.may_win
    what = "its value is that of budget 1; attempt 2, with budget 3, failed: no memory"
    assert trial.notes[Mark.PROMOTION_FAILED] == what
    assert Mark.OTHER_VALUE in trial.marks, "it is that of the earlier attempt"


def test_a_value_as_it_was_reported_takes_the_place_of_one_that_was_not() -> None:
    assert promoted([Finished("t0000", 2, 0.2)]).marks == []


@pytest.mark.parametrize(
    ("suggestions", "message"),
    [
        (["nonsense"], "returned 'nonsense'; expected a Trial"),
        ([WAIT], "returned WAIT while no trial is running"),
        ([Promotion("t0000", 3)], "promotes t0000, which is unknown"),
        ([Trial({}), Promotion("t0000", 3)], "promotes t0000, which is new, not finished"),
    ],
)
def test_an_optimizer_that_breaks_its_contract_is_named(
    suggestions: list[Any], message: str
) -> None:
    scheduler = make(Suggests(*suggestions))
    with pytest.raises(PolicyError, match=f"optimizer Suggests {message}"):
        scheduler.handle(SlotsChanged(2), 0.0)


def test_a_trial_suggested_twice_is_refused() -> None:
    trial = Trial({"x": 0.1})
    with pytest.raises(PolicyError, match="suggested t0000 again"):
        make(Suggests(trial, trial)).handle(SlotsChanged(2), 0.0)


def test_a_trial_promoted_twice_at_once_is_refused() -> None:
    twice = [Promotion("t0000", 3), Promotion("t0000", 5)]
    scheduler = make(Suggests(Trial({"x": 0.1}, budget=1), WAIT, *twice))
    scheduler.handle(SlotsChanged(2), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    with pytest.raises(PolicyError, match="optimizer Suggests promotes t0000 twice"):
        scheduler.handle(Finished("t0000", 1, 0.1), 1.0)


@pytest.mark.parametrize(("per_trial", "left"), [(1, 0), (2, 0), (2, 1)])
def test_an_optimizer_may_wait_while_workers_are_away(per_trial: int, left: int) -> None:
    scheduler = make(Suggests(Trial({"x": 0.1}), WAIT, Trial({"x": 0.2})), slots=per_trial)
    scheduler.handle(SlotsChanged(per_trial), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    scheduler.handle(SlotsChanged(left), 1.0)
    assert scheduler.handle(Finished("t0000", 1, 0.1), 2.0) == []
    (launch,) = scheduler.handle(SlotsChanged(per_trial), 3.0)
    assert partial(launch, Launch, trial_id="t0001", slots=per_trial)


@pytest.mark.parametrize("per_trial", [1, 2])
def test_an_optimizer_may_not_wait_while_one_trial_would_just_fit(per_trial: int) -> None:
    scheduler = make(Suggests(Trial({"x": 0.1}), WAIT, WAIT), slots=per_trial)
    scheduler.handle(SlotsChanged(per_trial), 0.0)
    scheduler.handle(Started("t0000", 1), 0.0)
    with pytest.raises(PolicyError, match="returned WAIT while no trial is running"):
        scheduler.handle(Finished("t0000", 1, 0.1), 1.0)


def test_an_exception_in_a_policy_is_told_with_its_place() -> None:
    class Raises(RandomSearch):
        def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
            raise ZeroDivisionError("oops")

    with pytest.raises(PolicyError, match=r"(?s)Raises raised ZeroDivisionError: oops.*test_sched"):
        make(Raises()).handle(SlotsChanged(1), 0.0)


def test_num_trials_holds_even_for_an_optimizer_that_never_ends() -> None:
    class Endless(AbstractOptimizer):
        def initialize(self) -> None:
            pass

        def get_suggestion(self, trial: Trial | None = None) -> Trial:
            return self.create_trial({"x": 0.5})

    scheduler = make(Endless(), num_trials=2)
    out = scheduler.handle(SlotsChanged(5), 0.0)
    assert len(out) == 2


def test_equal_parameters_are_different_trials() -> None:
    scheduler = make(Suggests(Trial({"x": 0.5}), Trial({"x": 0.5})), num_trials=2)
    first, second = scheduler.handle(SlotsChanged(2), 0.0)
    assert isinstance(first, Launch)
    assert isinstance(second, Launch)
    assert first.params == second.params
    assert (first.trial_id, first.seed) != (second.trial_id, second.seed)


def test_an_impossible_transition_tells_the_trials_story() -> None:
    trial = Trial({}, trial_id="t0007")
    trial.move("launch", 1.0, "random draw")
    trial.move("start", 2.0)
    with pytest.raises(IllegalTransition, match=r"(?s)t0007 is running; it can't launch.*random d"):
        trial.move("launch", 3.0)


class SchedulerMachine(RuleBasedStateMachine):
    """Random orders of everything that can happen; the validator after every step."""

    @initialize(
        slots=st.integers(0, 4),
        asha=st.booleans(),
        retries=st.integers(0, 2),
        timeout=st.sampled_from([None, 5.0]),
    )
    def begin(self, slots: int, asha: bool, retries: int, timeout: float | None) -> None:
        self.time_s = 0.0
        self.scheduler = make(
            ASHA(resource_max=9) if asha else RandomSearch(),
            MedianStop(min_trials=2),
            num_trials=12,
            retries=retries,
            max_failures=6,
            trial_timeout_s=timeout,
        )
        self.launched: dict[tuple[str, int], int] = {}
        self.past: list[Event] = []
        self.take(SlotsChanged(slots))

    def take(self, event: Event) -> None:
        self.past.append(event)
        over = self.scheduler.status is not None
        out = self.scheduler.handle(event, self.time_s)
        assert not (over and out), "the run is over and goes on"
        for instruction in out:
            if isinstance(instruction, Launch):
                name = (instruction.trial_id, instruction.attempt)
                assert name not in self.launched, "an attempt is launched twice"
                self.launched[name] = 0
                assert self.scheduler.book.held <= self.scheduler.slots, "more than the slots"

    def pick(self, data: st.DataObject, *states: str) -> Trial | None:
        trials = [t for t in self.scheduler.book.active.values() if t.state in states]
        return data.draw(st.sampled_from(trials)) if trials else None

    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        trial = self.pick(data, "launched")
        if trial:
            self.take(Started(trial.trial_id, trial.attempt, "w", data.draw(st.integers(0, 2))))

    @rule(data=st.data(), value=st.integers(-3, 3))
    def report(self, data: st.DataObject, value: int) -> None:
        trial = self.pick(data, "running", "stopping")
        if trial:
            step = 0 if trial.last_step is None else trial.last_step + 1
            self.take(Reported(trial.trial_id, trial.attempt, step, float(value)))

    @rule(data=st.data(), value=st.integers(-3, 3))
    def finish(self, data: st.DataObject, value: int) -> None:
        trial = self.pick(data, "running", "stopping")
        if trial:
            self.take(Finished(trial.trial_id, trial.attempt, float(value)))

    @rule(data=st.data())
    def stopped(self, data: st.DataObject) -> None:
        trial = self.pick(data, "stopping")
        if trial:
            self.take(Stopped(trial.trial_id, trial.attempt))

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        trial = self.pick(data, "launched", "running", "stopping")
        if trial:
            self.take(Failed(trial.trial_id, trial.attempt, BROKEN))

    @rule(data=st.data())
    def diverge(self, data: st.DataObject) -> None:
        trial = self.pick(data, "running", "stopping")
        if trial:
            self.take(Diverged(trial.trial_id, trial.attempt, "reported nan at step 1"))

    @rule(data=st.data(), value=st.integers(-3, 3))
    def replace(self, data: st.DataObject, value: int) -> None:
        trial = self.pick(data, "running", "stopping")
        if trial and trial.attempt_step is not None:
            history = list(trial.metric_history)
            times = trial.repeats + 1
            name = (trial.trial_id, trial.attempt)
            for _ in range(data.draw(st.integers(1, 2))):  # it may arrive twice
                self.take(Reported(*name, trial.attempt_step, float(value), replaces=times))
            assert trial.metric_history == [*history[:-1], float(value)]
            assert Mark.REPLACED in trial.marks

    @rule(data=st.data(), mark=st.sampled_from(list(Mark)))
    def note(self, data: st.DataObject, mark: Mark) -> None:
        trial = self.pick(data, "running", "stopping")
        if trial:
            self.take(Noted(trial.trial_id, trial.attempt, mark.value, "so it is"))

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        trial = self.pick(data, "launched", "running", "stopping")
        if trial:
            self.take(Lost(trial.trial_id, trial.attempt, "its worker died"))

    @rule(slots=st.integers(0, 5))
    def slots(self, slots: int) -> None:
        self.take(SlotsChanged(slots))

    @rule(seconds=st.floats(0.0, 3.0))
    def time(self, seconds: float) -> None:
        self.time_s += seconds
        self.take(TimePassed())

    @precondition(lambda self: len(self.past) > 3)
    @rule(data=st.data())
    def late_or_double(self, data: st.DataObject) -> None:
        """Whatever arrived before arrives again, unless it would be news of a live attempt."""
        event = data.draw(st.sampled_from(self.past))
        attempt = getattr(event, "attempt", None)
        live = self.scheduler.book.active.get(getattr(event, "trial_id", ""))
        if live is None or live.attempt != attempt:
            self.take(event)

    @invariant()
    def valid(self) -> None:
        if hasattr(self, "scheduler"):
            self.scheduler.validate()


SchedulerMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=60, deadline=None
)
TestSchedulerMachine = SchedulerMachine.TestCase
