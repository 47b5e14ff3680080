"""No early stopping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from dotrain.core.policy import AbstractEarlyStop, Direction
from dotrain.core.trial import Trial


class NoStop(AbstractEarlyStop):
    """Let every trial run to its end."""

    takes_several_metrics: ClassVar[bool] = True

    def earlystop_check(
        self,
        to_check: Mapping[str, Trial],
        finalized_trials: Sequence[Trial],
        direction: Direction,
    ) -> None:
        """Stop nothing."""
