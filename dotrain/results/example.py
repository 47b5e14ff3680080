"""Trials that nobody has run, for a result such as a run will have."""

from __future__ import annotations

from collections.abc import Mapping

from dotrain.core import events as e
from dotrain.core.book import TrialBook
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.trial import Trial


def carry_out(
    book: TrialBook,
    trial: Trial,
    value: float | None,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Launch a trial, again if it is in the book; it returns the value, with other numbers, or fails without one."""
    if not trial.trial_id:
        book.accept(trial)
    book.launch(trial, 1.0, "", 0.0, 1)
    key = (trial.trial_id, trial.attempt)
    book.apply(e.Started(*key, "", 0), 0.0)
    failed = e.Failed(*key, Failure(FailureKind.EXCEPTION, ""))
    book.apply(failed if value is None else e.Finished(*key, value, metrics), 1.0)
