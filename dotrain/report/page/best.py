"""When each value came in, and the best one at each time."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from dotrain.core.policy import Direction, sign_of
from dotrain.core.trial import Trial, TrialState


class Value(NamedTuple):
    """A value that counted from some time on.

    Attributes:
        time_s: Since when, in seconds since the run began.
        value: The metric.
        trial_id: Whose.
    """

    time_s: float
    value: float
    trial_id: str


def values_over_time(trials: Iterable[Trial]) -> list[Value]:
    """Return every value that a trial ended with, at a rung or for good, in the order of time."""
    found = []
    for trial in trials:
        results = iter(trial.results)
        for line in trial.story:
            if line.state is TrialState.FINISHED:
                found.append(Value(line.time_s, next(results).value, trial.trial_id))
            elif line.state is TrialState.STOPPED and trial.final_metric is not None:
                found.append(Value(line.time_s, trial.final_metric, trial.trial_id))
    return sorted(found, key=lambda value: value.time_s)


def _changes_over_time(trials: Iterable[Trial]) -> list[tuple[float, float | None, str]]:
    """Return each time at which a trial's value changed; None is one that is no more."""
    trials = list(trials)
    gone = [
        (line.time_s, None, trial.trial_id)
        for trial in trials
        for line in trial.story
        if line.state is TrialState.DIVERGED
    ]
    return sorted([*values_over_time(trials), *gone], key=lambda change: change[0])


def best_over_time(trials: Iterable[Trial], direction: Direction) -> list[Value]:
    """Return the best value at each time at which it changed.

    A trial counts with its latest value, as in the result; so a promoted one that has become worse
    or has diverged may take the best value with it. What may not win doesn't count.
    """
    trials = [trial for trial in trials if trial.may_win or trial.state is TrialState.DIVERGED]
    numbers = {trial.trial_id: trial.number for trial in trials}
    sign = sign_of(direction)
    latest: dict[str, float | None] = {}
    ranking: list[tuple[float, int, str]] = []
    best: list[Value] = []
    for time_s, value, trial_id in _changes_over_time(trials):
        latest[trial_id] = None if value is None else -sign * value
        if value is not None:
            heapq.heappush(ranking, (-sign * value, numbers[trial_id], trial_id))
        while ranking and latest[ranking[0][2]] != ranking[0][0]:
            heapq.heappop(ranking)
        if not ranking:
            continue
        loss, _, leader = ranking[0]
        now = Value(time_s, -sign * loss, leader)
        if not best or best[-1][1:] != now[1:]:
            best.append(now)
    return best
