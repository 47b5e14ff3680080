"""What is known of the repeats of one trial, and where each writes to."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence
from dataclasses import dataclass, field
from typing import final


def folder_of(trial_id: str, repeat: int) -> str:
    """Return the name of the folder that a repeat of a trial writes to: ``t0003``, then ``t0003-2``."""
    return f"{trial_id}-{repeat + 1}" if repeat else trial_id


@final
@dataclass(slots=True)
class Repeated:
    """The repeats of a trial.

    Attributes:
        index: Which one is trained now, or was last, from 0.
        values: Of those that have finished with the trial's budget.
        metrics: Their other numbers.
        is_due: Whether the trial waits for its next repeat.
        reports: The steps and the values that the others have reported, by repeat.
    """

    index: int = 0
    values: list[float] = field(default_factory=list)
    metrics: list[Mapping[str, float]] = field(default_factory=list)
    is_due: bool = False
    reports: dict[int, tuple[list[int], MutableSequence[float]]] = field(default_factory=dict)

    @property
    def folders(self) -> range:
        """The repeats that have been launched."""
        return range(max([self.index, *self.reports]) + 1)
