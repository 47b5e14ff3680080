"""What always holds of the trials of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from dotrain.core.trial import Trial, TrialState


def check_trials(
    trials: Mapping[str, Trial],
    active: Iterable[str],
    finalized: Iterable[Trial],
    counts: Counter[TrialState],
) -> None:
    """Assert that trials and the indexes of them agree.

    Args:
        trials: All, by id.
        active: The ids of those that hold slots.
        finalized: Those with a value.
        counts: How many there are of each state.

    Raises:
        AssertionError: If they don't.
    """
    holding = {t.trial_id for t in trials.values() if t.state.active}
    assert holding == set(active), "active trials and the index of them differ"
    counted = Counter(t.state for t in trials.values())
    assert counted == +counts, "counts by state are off"
    for index, (trial_id, trial) in enumerate(trials.items()):
        assert (trial.trial_id, trial.number) == (trial_id, index), "trials are misnumbered"
        trial.validate()
    listed = [t.trial_id for t in finalized]
    assert len(set(listed)) == len(listed), "a trial is finalized twice"
    assert set(listed) == {i for i, t in trials.items() if t.final_metric is not None}
