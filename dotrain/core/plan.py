"""What a search will do at least, as far as its optimizer can tell beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, final


@final
class Rung(NamedTuple):
    """One level of a successive-halving schedule."""

    budget: int
    #: The least number of trials that will finish it, if every trial succeeds.
    trials: int


@final
@dataclass(frozen=True)
class Plan:
    """What a search will do at least, if no trial fails or is stopped early.

    Attributes:
        configurations: Configurations sampled.
        launches: Attempts, promotions included; a lower bound if `rungs` is not empty.
        rungs: The levels of a successive-halving schedule, smallest budget first.
        notes: What a person should know besides, one sentence each.
    """

    configurations: int
    launches: int
    rungs: tuple[Rung, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def steps(self) -> int | None:
        """Steps trained at least, if every promotion goes on from a checkpoint; None if unknown."""
        return self._steps(from_checkpoints=True)

    @property
    def steps_from_scratch(self) -> int | None:
        """Steps trained at least, if every promotion starts again; None if unknown."""
        return self._steps(from_checkpoints=False)

    def _steps(self, from_checkpoints: bool) -> int | None:
        if not self.rungs:
            return None
        before = 0
        total = 0
        for rung in self.rungs:
            total += rung.trials * (rung.budget - before)
            before = rung.budget if from_checkpoints else 0
        return total
