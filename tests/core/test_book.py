"""What seldom happens to a trial, one story at a time; the machine in this folder tells the rest."""

from __future__ import annotations

from typing import Any

import pytest

from dotrain.core.book import TrialBook
from dotrain.core.events import (
    Diverged,
    Finished,
    Lost,
    Noted,
    Reported,
    SlotsChanged,
    Started,
    Stopped,
    Used,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Launch, RunStatus
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.scheduler import Scheduler
from dotrain.core.seeding import derive_rng, derive_seed
from dotrain.core.trial import IllegalTransition, Trial, TrialState
from dotrain.core.usage import Usage
from dotrain.earlystop.none import NoStop
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Int, Searchspace


def a_trial(book: TrialBook, **fields: Any) -> Trial:
    """Accept a trial and launch it, on one slot at time 0."""
    trial = Trial({"x": 1}, **fields)
    book.accept(trial)
    book.launch(trial, 2, "first", 0.0, 1)
    return trial


def new_book(retries: int = 2, **options: Any) -> TrialBook:
    return TrialBook(0, Limits(retries=retries), **options)


def went_on(book: TrialBook, trial: Trial, step: int) -> None:
    """Let a running trial finish, be promoted, and go on from its checkpoint."""
    book.apply(Finished("t0000", trial.attempt, 0.5), 1.0)
    book.launch(trial, 9, "promoted", 1.0, 1)
    book.apply(Started("t0000", trial.attempt, "w", step), 1.0)


def counts(trial: Trial) -> tuple[int, int, int, int]:
    return trial.promotions, trial.continued, trial.steps_saved, trial.from_checkpoint


def test_a_promotion_that_begins_again_after_all_has_saved_nothing() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    book.apply(Reported("t0000", 1, 0, 0.1), 0.0)
    book.apply(Reported("t0000", 1, 1, 0.2), 0.0)
    went_on(book, trial, 2)
    assert counts(trial) == (1, 1, 2, 1)
    assert trial.marks == [Mark.CONTINUED]
    book.apply(Reported("t0000", 2, 0, 0.3), 2.0)
    assert counts(trial) == (1, 0, 0, 0)
    assert trial.marks == []
    assert (trial.step_history, trial.metric_history) == ([0], [0.3])
    book.apply(Reported("t0000", 2, 1, 0.4), 2.0)
    assert counts(trial) == (1, 0, 0, 0)
    assert trial.step_history == [0, 1]
    book.validate()


def test_of_two_continuations_the_one_that_begins_again_is_taken_back() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    went_on(book, trial, 2)
    went_on(book, trial, 3)
    assert counts(trial) == (2, 2, 5, 2)
    book.apply(Reported("t0000", 3, 0, 0.3), 2.0)
    assert counts(trial) == (2, 1, 2, 1)
    assert trial.marks == [Mark.CONTINUED]


def test_a_retry_from_a_checkpoint_is_no_promotion_and_saves_no_steps() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    book.apply(Lost("t0000", 1, "gone"), 1.0)
    book.launch(trial, 2, "again", 1.0, 1)
    book.apply(Started("t0000", 2, "w", 1), 1.0)
    assert counts(trial) == (0, 0, 0, 1)
    book.apply(Reported("t0000", 2, 0, 0.3), 2.0)
    assert counts(trial) == (0, 0, 0, 0)


@pytest.mark.parametrize(("from_one", "kept"), [(True, [1, 2]), (False, [1])])
def test_a_function_that_counts_from_one_keeps_the_step_of_its_checkpoint(
    from_one: bool, kept: list[int]
) -> None:
    book = new_book(counts_from_one=from_one)
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    for step in (1, 2, 3):
        book.apply(Reported("t0000", 1, step, 0.1), 0.0)
    went_on(book, trial, 2)
    assert trial.step_history == kept


def test_a_kept_report_is_news_and_begins_nothing_again() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    went_on(book, trial, 3)
    for step in (0, 1, 2):
        assert book.apply(Reported("t0000", 2, step, 0.1, kept=True), 1.0) is trial
    assert book.apply(Reported("t0000", 2, 2, 0.1, kept=True), 1.0) is None
    assert counts(trial) == (1, 1, 3, 1)
    assert trial.step_history == [0, 1, 2]
    assert trial.steps_run == 3


def test_the_time_of_all_attempts_is_summed() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 1.0)
    book.apply(Lost("t0000", 1, "gone"), 4.0)
    book.launch(trial, 2, "again", 5.0, 1)
    book.apply(Started("t0000", 2), 7.0)
    book.apply(Finished("t0000", 2, 0.5), 9.0)
    assert (trial.busy_s, trial.started_s) == (3.0 + 2.0, None)


def test_a_stop_without_a_report_is_a_failure_with_a_reason() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    book.apply(Stopped("t0000", 1), 1.0)
    assert trial.state is TrialState.FAILED
    assert trial.error is not None
    assert trial.error.kind is FailureKind.BAD_RESULT
    assert trial.error.message == trial.story[-1].what


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_trial_is_given_up_after_one_try_more_than_retries(retries: int) -> None:
    book = new_book(retries)
    trial = a_trial(book)
    for attempt in range(1, retries + 1):
        book.apply(Lost("t0000", attempt, "gone"), 0.0)
        assert trial.state is TrialState.WAITING
        book.launch(trial, 2, "again", 0.0, 1)
    book.apply(Lost("t0000", retries + 1, "gone"), 0.0)
    assert trial.error is not None
    assert f"given up after {retries + 1} tries" in trial.error.message
    assert trial.error.kind is FailureKind.LOST


def test_a_trial_that_is_to_stop_is_over_when_it_is_lost_however_often() -> None:
    book = new_book(retries=0)
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    book.apply(Reported("t0000", 1, 0, 0.7), 0.0)
    book.stop(trial, "enough", 1.0)
    book.apply(Lost("t0000", 1, "gone"), 2.0)
    assert (trial.state, trial.final_metric, trial.losses) == (TrialState.STOPPED, 0.7, 1)
    assert book.finalized == [trial]


def test_a_value_is_the_last_one_and_a_trial_is_finalized_once() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    went_on(book, trial, 0)
    book.apply(Finished("t0000", 2, 0.9, {"f1": 0.8}), 2.0)
    assert [(r.budget, r.value) for r in trial.results] == [(2, 0.5), (9, 0.9)]
    assert (trial.final_metric, trial.metrics) == (0.9, {"f1": 0.8})
    assert book.finalized == [trial]
    assert trial.story[-1].what == "finish: 0.9"


def test_a_guessed_value_says_what_was_taken_and_what_was_guessed_before() -> None:
    for before, after in [(None, ""), ("nobody said so: direction max", "; nobody said so")]:
        book = new_book(marks={Mark.GUESSED: before} if before else None)
        trial = a_trial(book)
        book.apply(Started("t0000", 1), 0.0)
        book.apply(Finished("t0000", 1, 0.5, taken="best"), 1.0)
        note = trial.notes[Mark.GUESSED]
        assert note.startswith("returned nothing, so its best report counts")
        assert note.removeprefix("returned nothing, so its best report counts").startswith(after)
        assert bool(after) == note.endswith("direction max")


def test_what_an_attempt_has_used_is_told_after_its_time_was_up() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    book.fail(trial, Failure(FailureKind.TIMEOUT, "ran longer than 1 s"), 1.0)
    assert book.apply(Used("t0000", 1, Usage(0.5, 100)), 1.1) is trial
    assert trial.usage == Usage(0.5, 100)
    assert book.apply(Used("t0009", 1, Usage(0.5, 100)), 1.1) is None


def test_the_first_note_of_a_mark_stays_and_unknown_marks_are_passed_over() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    for mark, what in [("over budget", "first"), ("over budget", "second"), ("no mark", "what")]:
        book.apply(Noted("t0000", 1, mark, what), 0.0)
    assert trial.notes == {Mark.OVER_BUDGET: "first"}


def test_the_note_of_other_code_goes_when_a_trial_begins_again_with_the_first() -> None:
    book = new_book(code="one")
    trial = a_trial(book)
    for number, (code, resume_step, marks) in enumerate(
        [
            ("two", 0, [Mark.OTHER_CODE]),
            ("one", 0, []),
            ("two", 0, [Mark.OTHER_CODE]),
            ("one", 1, [Mark.CONTINUED, Mark.OTHER_CODE]),
            (None, 1, [Mark.CONTINUED, Mark.OTHER_CODE]),
        ],
        2,
    ):
        assert book.resume(Limits(), 1.0, code) == [trial]
        book.launch(trial, 2, "again", 1.0, 1)
        book.apply(Started("t0000", number, "w", resume_step), 1.0)
        assert trial.marks == marks, (number, code)
    assert book.codes == ["one", "two", "one", "two", "one"]


def test_the_first_code_is_told_later_only_where_nobody_knew_it() -> None:
    known, unknown = new_book(code="one"), new_book()
    for book in (known, unknown):
        book.resume(Limits(), 0.0, "two", "zero")
    assert (known.codes, unknown.codes) == (["one", "two"], ["zero", "two"])


def test_a_diverged_trial_takes_its_value_back() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    went_on(book, trial, 0)
    book.apply(Diverged("t0000", 2, "reported nan"), 2.0)
    assert (trial.state, trial.final_metric) == (TrialState.DIVERGED, None)
    assert (book.finalized, trial.story[-1].what) == ([], "reported nan")


def test_a_trial_that_is_not_accepted_yet_has_nothing_but_what_it_was_made_of() -> None:
    trial = Trial({"x": 1})
    has = {name: getattr(trial, name) for name in Trial.__dataclass_fields__}
    told = {name: value for name, value in has.items() if value or value is False}
    assert told == {
        "params": {"x": 1},
        "number": -1,
        "slots": 1,
        "state": TrialState.NEW,
        "promoting": False,
        "counted": False,
        "lends": False,
    }
    unknown = {name for name, value in has.items() if value is None}
    assert unknown == {
        *("budget", "seed", "arm", "attempt_step", "final_metric", "metrics", "error"),
        "metrics_step",
        *("started_s", "usage", "repeated"),
    }


def test_ids_seeds_and_marks_are_given_at_acceptance() -> None:
    book = new_book(marks={Mark.SIMULATED: "made up"})
    trials = [Trial({}), Trial({}, seed=7), Trial({})]
    for trial in trials:
        book.accept(trial)
    assert [(t.trial_id, t.number) for t in trials] == [("t0000", 0), ("t0001", 1), ("t0002", 2)]
    assert [t.seed for t in trials] == [
        derive_seed(0, "trial", 0),
        7,
        derive_seed(0, "trial", 2),
    ]
    assert all(t.notes == {Mark.SIMULATED: "made up"} for t in trials)
    assert trials[0].notes is not trials[1].notes


def test_a_launch_says_all_that_an_executor_must_know() -> None:
    book = new_book()
    trial = Trial({"x": 1})
    book.accept(trial)
    launch = book.launch(trial, 4, "so it is", 0.0, 3)
    told = (launch.trial_id, launch.attempt, launch.params, launch.budget, launch.slots)
    assert told == ("t0000", 1, {"x": 1}, 4, 3)
    assert (launch.reason, launch.seed, launch.known_step) == ("so it is", trial.seed, -1)
    assert (trial.reason, trial.budget, book.held) == ("so it is", 4, 3)
    book.apply(Started("t0000", 1), 0.0)
    book.apply(Reported("t0000", 1, 0, 0.1), 0.0)
    book.apply(Lost("t0000", 1, "gone"), 0.0)
    assert book.held == 0
    assert book.launch(trial, 4, "again", 0.0, 1).known_step == 0


def test_what_can_not_be_is_told_with_the_trials_story() -> None:
    book = new_book()
    trial = a_trial(book)
    with pytest.raises(IllegalTransition, match=r"(?s)t0000 is launched; it can't stop.*first"):
        book.stop(trial, "enough", 1.0)


def test_states_hold_slots_or_are_ends_or_neither() -> None:
    active = {TrialState.LAUNCHED, TrialState.RUNNING, TrialState.STOPPING}
    idle = {TrialState.NEW, TrialState.WAITING}
    for state in TrialState:
        assert state.active == (state in active)
        assert state.ended == (state not in active | idle)


def test_seeds_are_the_same_for_ever() -> None:
    """Runs of earlier versions go on with them."""
    assert [derive_seed(0, "trial", 0), derive_seed(3, "optimizer")] == [
        1725501518,
        1848164276,
    ]
    assert derive_rng(3, "optimizer").random() == derive_rng(3, "optimizer").random()
    assert all(0 <= derive_seed(n) < 2**31 for n in range(50))
    assert max(derive_seed(n) for n in range(50)) >= 2**30
    assert derive_seed(1, "a", "b") != derive_seed(1, "b", "a")


def test_a_scheduler_has_the_documented_defaults() -> None:
    optimizer = RandomSearch()
    optimizer.setup(Searchspace(x=Int(range=(1, 9))), 2, "max", 0)
    optimizer.initialize()
    scheduler = Scheduler(optimizer, NoStop())
    assert (scheduler.took_in, scheduler.slots, scheduler.status) == (True, 0, None)
    (launch, _) = scheduler.handle(SlotsChanged(2), 0.0)
    assert isinstance(launch, Launch)
    assert (launch.seed, launch.slots) == (derive_seed(0, "trial", 0), 1)
    assert scheduler.limits == Limits()
    least = Launch("a sample", "t0000", 1, {"x": 1}, None, seed=7)
    assert (least.slots, least.known_step, least.arm) == (1, -1, None)


def test_limits_of_a_record_have_the_documented_defaults() -> None:
    assert Limits.of({}) == Limits(None, None, None, 2, 10, None, None)
    told = {"trial_timeout_s": 1.0, "max_trial_time_s": 1.5, "max_time_s": 2.0, "retries": 3}
    assert Limits.of({**told, "max_failures": 4, "mood": 1}) == Limits(1.0, 1.5, 2.0, 3, 4)


def test_a_step_whose_first_report_got_lost_is_taken_from_its_repetition() -> None:
    book = new_book()
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    book.apply(Reported("t0000", 1, 0, 0.1, {"f1": 0.5}), 0.0)
    book.apply(Reported("t0000", 1, 0, 0.2, replaces=1), 0.0)
    assert (trial.metric_history, trial.metrics) == ([0.2], {"f1": 0.5})
    assert book.apply(Reported("t0000", 1, 0, 0.2, replaces=1), 0.0) is None
    assert book.apply(Reported("t0000", 1, 1, 0.3, replaces=1), 0.0) is trial
    assert trial.metric_history == [0.2, 0.3]
    assert book.apply(Reported("t0000", 1, 1, 0.3, replaces=1), 0.0) is None
    assert book.apply(Reported("t0000", 1, 1, 0.4, replaces=2), 0.0) is trial
    assert (trial.metric_history, trial.steps_run) == ([0.2, 0.4], 2)


def test_a_function_that_counts_from_zero_makes_the_step_of_its_checkpoint_again() -> None:
    book = new_book(counts_from_one=True)
    trial = a_trial(book)
    book.apply(Started("t0000", 1), 0.0)
    for step in (0, 1, 2):
        book.apply(Reported("t0000", 1, step, 0.1), 0.0)
    went_on(book, trial, 2)
    assert trial.step_history == [0, 1]


def test_a_status_of_a_newer_version_is_kept_and_is_no_other() -> None:
    newer = RunStatus("paused")
    assert (newer, newer.value, newer.name) == ("paused", "paused", "paused")
    assert newer not in set(RunStatus)
    with pytest.raises(ValueError, match="3"):
        RunStatus(3)


def test_a_run_that_did_not_end_as_it_was_to_is_told_from_one_that_may_go_on() -> None:
    assert {s.value for s in RunStatus if s.was_broken_off} == {"failed", "interrupted"}
    assert {s.value for s in RunStatus if not s.goes_on} == {"finished", "running"}
