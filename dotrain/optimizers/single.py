"""One trial: a single training run is a search of one."""

from __future__ import annotations

from typing import ClassVar

from dotrain.core.policy import AbstractOptimizer, Plan
from dotrain.core.trial import Trial


class Single(AbstractOptimizer):
    """Run the train function once, with the fixed hyperparameters only."""

    needs_num_trials: ClassVar[bool] = False
    takes_several_metrics: ClassVar[bool] = True

    def check(self) -> None:
        """Refuse a search space: one run can't search."""
        if self.searchspace.names:
            raise ValueError("optimizer 'single' runs once and takes no search space")

    def initialize(self) -> None:
        """Nothing to get ready."""
        self._suggested = False

    def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
        """Return the one trial, then None."""
        if self._suggested:
            return None
        self._suggested = True
        return self.create_trial({}, reason="the only trial")

    def may_continue(self, trial: Trial) -> bool:
        """Never: it is launched once."""
        return False

    def plan(self) -> Plan:
        """One launch."""
        return Plan(configurations=1, launches=1)
