"""Random search."""

from __future__ import annotations

from typing import ClassVar

from dotrain.core.policy import AbstractOptimizer, Plan
from dotrain.core.trial import Trial


class RandomSearch(AbstractOptimizer):
    """Draw `num_trials` configurations at random; of a finite space, each once.

    Source: Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012.
    """

    takes_other_spaces: ClassVar[bool] = True
    takes_several_metrics: ClassVar[bool] = True

    def initialize(self) -> None:
        """Nothing drawn yet."""
        self._drawn = 0

    def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
        """Return a fresh draw, or None after `num_trials` or when all have been tried."""
        if self._drawn == self.num_trials:
            return None
        params = self.draw_untried()
        if params is None:
            return None
        self._drawn += 1
        return self.create_trial(params, reason="random draw")

    def may_continue(self, trial: Trial) -> bool:
        """Never: a trial is launched once."""
        return False

    def plan(self) -> Plan:
        """One launch per configuration: `num_trials`, or all that there are."""
        configurations, notes = self.configurations_at_most()
        return Plan(configurations or 0, configurations or 0, notes=notes)
