"""What a run asks of the numbers that a trial has beside its metric: constraints of them, and further metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, final

from dotrain.core.constraints import Constraints
from dotrain.core.failure import Failure
from dotrain.core.front import Metrics
from dotrain.core.trial import Trial


@final
@dataclass(frozen=True)
class Criteria:
    """What must be there for a trial to finish, and what is noted of it when it has a value.

    Attributes:
        constraints: What a trial must keep to win.
        metrics: The metrics, where there are several.
    """

    constraints: Constraints = field(default_factory=Constraints)
    metrics: Metrics = field(default_factory=Metrics)

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Self:
        """Return those of a run.

        Args:
            header: The journal's first record.
        """
        return cls(Constraints.of(header), Metrics.of(header))

    def missing(self, trial: Trial, metrics: Mapping[str, float] | None) -> Failure | None:
        """Return the failure of a result that lacks what is asked for; None if it has all.

        Args:
            trial: Is about to finish.
            metrics: The other numbers that the train function returned.
        """
        lacking = self.constraints.missing(metrics or trial.metrics)
        return lacking or self.metrics.missing(trial, metrics)

    def judge(self, trial: Trial) -> None:
        """Note what a trial that has a value has come to."""
        self.constraints.judge(trial)
        self.metrics.judge(trial)
