"""Where attempts begin, and what is counted and marked of it."""

from __future__ import annotations

from typing import Any

from dotrain.core.book import TrialBook
from dotrain.core.events import Failed, Finished, Lost, Noted, Reported, Started
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.trial import Trial, TrialState


def book_with_a_lender(**options: Any) -> tuple[TrialBook, Trial]:
    book = TrialBook(0, Limits(), **options)
    lender = Trial({"x": 1}, lends=True)
    book.accept(lender)
    run(book, lender, 0, 10)
    return book, lender


def borrower(book: TrialBook, begins_at: int = 10) -> Trial:
    trial = Trial({"x": 2}, begins_from="t0000", begins_at=begins_at, lends=True)
    book.accept(trial)
    return trial


def start(book: TrialBook, trial: Trial, step: int, budget: float = 20) -> tuple[str, int]:
    book.launch(trial, budget, "", 0.0, 1)
    name = (trial.trial_id, trial.attempt)
    book.apply(Started(*name, "worker", step), 0.0)
    return name


def run(book: TrialBook, trial: Trial, step: int, budget: int, first: int | None = None) -> None:
    name = start(book, trial, step, budget)
    for done in range(step if first is None else first, budget + (first is not None)):
        book.apply(Reported(*name, done, 0.5), 0.0)
    book.apply(Finished(*name, 0.5), 0.0)
    book.validate()


def test_it_is_marked_and_nothing_is_counted_as_saved() -> None:
    book, _ = book_with_a_lender()
    trial = borrower(book)
    assert list(book.borrowing) == ["t0001"]
    run(book, trial, 10, 20)
    assert not book.borrowing
    assert trial.notes == {Mark.INHERITED: "began from t0000's checkpoint of step 10"}
    assert trial.step_history == list(range(10, 20))
    assert (trial.steps_run, trial.steps_done) == (10, 20)
    assert (trial.from_checkpoint, trial.continued, trial.steps_saved) == (0, 0, 0)


def test_of_a_promotion_the_steps_of_its_own_are_saved() -> None:
    book, _ = book_with_a_lender()
    trial = borrower(book)
    run(book, trial, 10, 20)
    run(book, trial, 20, 30)
    assert list(trial.notes) == [Mark.INHERITED, Mark.CONTINUED]
    assert (trial.promotions, trial.continued, trial.steps_saved) == (1, 1, 10)
    assert trial.step_history == list(range(10, 30))


def test_the_launch_says_what_is_to_be_copied_and_kept() -> None:
    book, lender = book_with_a_lender()
    trial = borrower(book)
    first = book.launch(trial, 20, "", 0.0, 1)
    assert (first.begins_from, first.begins_at, first.keep_step) == ("t0000", 10, 0)
    again = book.launch(lender, 20, "", 0.0, 1)
    assert (again.begins_from, again.begins_at, again.keep_step) == ("", 0, 10)
    other = Trial({})
    book.accept(other)
    assert book.launch(other, None, "", 0.0, 1).keep_step == -1


def test_where_the_checkpoint_has_fewer_steps_it_begins_there() -> None:
    book, _ = book_with_a_lender()
    trial = borrower(book)
    start(book, trial, 8)
    assert trial.begins_at == 8


def test_one_that_is_lost_before_its_first_checkpoint_begins_there_again() -> None:
    book, _ = book_with_a_lender()
    trial = borrower(book)
    name = start(book, trial, 10)
    book.apply(Reported(*name, 10, 0.5), 0.0)
    book.apply(Lost(*name, "its worker died"), 0.0)
    run(book, trial, 10, 20)
    assert list(trial.notes) == [Mark.INHERITED]
    assert trial.from_checkpoint == 0
    assert trial.step_history == list(range(10, 20))


def test_one_that_goes_on_from_its_own_is_marked_with_both() -> None:
    book, _ = book_with_a_lender()
    trial = borrower(book)
    name = start(book, trial, 10)
    for step in range(10, 16):
        book.apply(Reported(*name, step, 0.5), 0.0)
    book.apply(Lost(*name, "its worker died"), 0.0)
    run(book, trial, 14, 20)
    assert list(trial.notes) == [Mark.INHERITED, Mark.CONTINUED]
    assert trial.begins_at == 10
    assert trial.step_history == list(range(10, 20))


def test_one_that_counts_from_one_keeps_the_report_of_its_checkpoint() -> None:
    book, _ = book_with_a_lender()
    trial = borrower(book)
    run(book, trial, 10, 20, first=11)
    assert trial.step_history == list(range(11, 21))
    assert trial.steps_done == 20
    start(book, trial, 20, 30)
    assert trial.step_history == list(range(11, 21))


def test_one_that_counts_from_zero_drops_what_is_done_once_more() -> None:
    book, _ = book_with_a_lender()
    trial = borrower(book)
    name = start(book, trial, 10)
    for step in range(10, 14):
        book.apply(Reported(*name, step, 0.5), 0.0)
    book.apply(Lost(*name, "its worker died"), 0.0)
    start(book, trial, 13)
    assert trial.step_history == [10, 11, 12]


def test_what_must_be_known_of_the_lender_must_be_known_of_it() -> None:
    book, lender = book_with_a_lender(code="a")
    name = start(book, lender, 10)
    book.apply(Noted(*name, Mark.OVER_BUDGET, "trained 12 steps"), 0.0)
    lender.notes[Mark.OTHER_CODE] = "attempt 2 ran code b"
    trial = borrower(book)
    run(book, trial, 10, 20)
    assert trial.notes[Mark.OVER_BUDGET] == "t0000, from which it began: trained 12 steps"
    assert trial.notes[Mark.OTHER_CODE] == "t0000, from which it began: attempt 2 ran code b"
    assert Mark.CONTINUED not in trial.notes


def test_one_that_comes_to_nothing_before_it_starts_borrows_nothing_any_more() -> None:
    book, _ = book_with_a_lender()
    trial = borrower(book)
    book.launch(trial, 20, "", 0.0, 1)
    book.apply(Failed("t0001", 1, Failure(FailureKind.SETUP, "no checkpoint")), 0.0)
    assert trial.state is TrialState.FAILED
    assert not book.borrowing
    assert Mark.INHERITED not in trial.notes
