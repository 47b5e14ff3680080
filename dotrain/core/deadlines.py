"""When the time of running attempts is up; no clock is read here."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple, final

from dotrain.core.limits import Limits
from dotrain.core.trial import Trial

#: Decimals of the times, in seconds, that anything is decided with: as many as the journal has.
TIME_DIGITS = 6
_TICK_S = 1e-6


class Deadline(NamedTuple):
    """When the time of an attempt is up.

    Attributes:
        due_s: When, in seconds since the run began.
        trial_id: Which trial.
        attempt: Which attempt of it.
        is_hard: Whether it fails then, whatever it does; else it is to stop well.
    """

    due_s: float
    trial_id: str
    attempt: int
    is_hard: bool


@final
class Deadlines:
    """Those of running attempts; one of an attempt that has ended stays until it is due."""

    def __init__(self) -> None:
        self._heap: list[Deadline] = []

    def clear(self) -> None:
        """Forget all: nothing runs."""
        self._heap.clear()

    def begin(self, trial: Trial, limits: Limits, time_s: float) -> None:
        """Note an attempt that has just started."""
        name = trial.trial_id, trial.attempt
        if limits.trial_timeout_s is not None:
            due_s = round(time_s + limits.trial_timeout_s, TIME_DIGITS)
            heapq.heappush(self._heap, Deadline(due_s, *name, is_hard=True))
        soft_s = trained_enough_s(trial, limits)
        if soft_s is not None:
            heapq.heappush(self._heap, Deadline(soft_s, *name, is_hard=False))

    def take_due(self, time_s: float) -> Iterator[Deadline]:
        """Yield what is due, each once."""
        while self._heap and self._heap[0].due_s <= time_s:
            yield heapq.heappop(self._heap)

    @property
    def next_s(self) -> float | None:
        """When the next one is due, in seconds since the run began."""
        return self._heap[0].due_s if self._heap else None


def trained_enough_s(trial: Trial, limits: Limits) -> float | None:
    """Return when a running trial will have trained for as long as it may; None if it has no limit."""
    if limits.max_trial_time_s is None or trial.started_s is None:
        return None
    left_s = max(0.0, limits.max_trial_time_s - trial.busy_s)
    return round(trial.started_s + left_s, TIME_DIGITS)


def first_after(time_s: float) -> float:
    """Return the first time of so many decimals at which some time has passed."""
    rounded = round(time_s, TIME_DIGITS)
    return rounded if rounded >= time_s else round(rounded + _TICK_S, TIME_DIGITS)
