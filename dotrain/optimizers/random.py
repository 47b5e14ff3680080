"""Random search."""

from __future__ import annotations

from dotrain.core.policy import AbstractOptimizer, Plan
from dotrain.core.trial import Trial


class RandomSearch(AbstractOptimizer):
    """Draw `num_trials` configurations, each independent of all others.

    Source: Bergstra and Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 2012.
    """

    def initialize(self) -> None:
        """Nothing drawn yet."""
        self._drawn = 0

    def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
        """Return a fresh draw, or None after `num_trials`."""
        if self._drawn == self.num_trials:
            return None
        self._drawn += 1
        return self.create_trial(self.searchspace.sample(self.rng), reason="random draw")

    def plan(self) -> Plan:
        """`num_trials` launches."""
        return Plan(configurations=self.num_trials or 0, launches=self.num_trials or 0)
