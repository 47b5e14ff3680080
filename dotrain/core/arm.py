"""Which part of an ablation study a trial is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ArmRun:
    """Which run of an ablation study a trial is: one arm with one of the study's seeds.

    Attributes:
        name: The arm's.
        seed_index: Which seed, from 0.
    """

    name: str
    seed_index: int

    @property
    def shown(self) -> dict[str, Any]:
        """Both by the names under which tables, charts and journals have them."""
        return {"arm": self.name, "seed": self.seed_index}
