"""What always holds of a book of trials."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotrain.core.book import TrialBook


def check_book(book: TrialBook) -> None:
    """Assert every invariant.

    Args:
        book: After any event.

    Raises:
        AssertionError: If one doesn't hold.
    """
    active = {t.trial_id for t in book.trials.values() if t.state.active}
    assert active == set(book.active), "active trials and the index of them differ"
    assert book.held == sum(t.slots for t in book.active.values()), "slots held are miscounted"
    busy = sum(len(t.hosts) for t in book.active.values())
    assert book.hosts.busy == busy, "slots held on hosts are miscounted"
    counted = Counter(t.state for t in book.trials.values())
    assert counted == +book.counts, "counts by state are off"
    for index, (trial_id, trial) in enumerate(book.trials.items()):
        assert (trial.trial_id, trial.number) == (trial_id, index), "trials are misnumbered"
        trial.validate()
    valued = {t.trial_id for t in book.finalized}
    assert len(valued) == len(book.finalized), "a trial is finalized twice"
    assert valued == {i for i, t in book.trials.items() if t.final_metric is not None}
