"""Trials that nobody has run, for a result such as a run will have."""

from __future__ import annotations

from dotrain.core import events as e
from dotrain.core.book import TrialBook
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.trial import Trial


def carry_out(book: TrialBook, trial: Trial, value: float | None) -> None:
    """Launch a trial, again if it is in the book; it returns the value, or fails without one."""
    if not trial.trial_id:
        book.accept(trial)
    book.launch(trial, 1.0, "", 0.0, 1)
    key = (trial.trial_id, trial.attempt)
    book.apply(e.Started(*key, "", 0), 0.0)
    failure = Failure(FailureKind.EXCEPTION, "")
    book.apply(e.Failed(*key, failure) if value is None else e.Finished(*key, value), 1.0)
