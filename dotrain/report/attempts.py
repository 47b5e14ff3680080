"""How a trial's attempts ended and how long each took, from the trial's story."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dotrain.core.trial import Trial, TrialState


class End(NamedTuple):
    """How one attempt ended, with the retries that it took.

    Attributes:
        budget: What it might use.
        state: How it ended.
        launched_s: When it was launched first.
        ended_s: When it ended.
        spent_s: How long it held its slots.
    """

    budget: float | None
    state: TrialState
    launched_s: float
    ended_s: float
    spent_s: float


def ended_attempts(trial: Trial) -> Iterator[End]:
    """Yield every attempt of a trial that has ended.

    One that was lost has not: another takes its place.
    """
    budgets = iter([result.budget for result in trial.results])
    launches: list[float] = []
    lost_s = 0.0
    for line in trial.story:
        if line.state is TrialState.LAUNCHED:
            launches.append(line.time_s)
        elif line.state is TrialState.WAITING and launches:
            lost_s += line.time_s - launches[-1]
        elif line.state.ended:
            budget = next(budgets) if line.state is TrialState.FINISHED else trial.budget
            first_s, last_s = launches[0], launches[-1]
            yield End(budget, line.state, first_s, line.time_s, lost_s + line.time_s - last_s)
            launches, lost_s = [], 0.0


def spent_s(trial: Trial, time_s: float) -> float:
    """Return for how long the current attempt has held its slots, with the retries before it."""
    held_s, since_s = 0.0, 0.0
    for line in trial.story:
        if line.state is TrialState.LAUNCHED:
            since_s = line.time_s
        elif line.state is TrialState.WAITING:
            held_s += line.time_s - since_s
        elif line.state.ended:
            held_s = 0.0
    return held_s + time_s - since_s
