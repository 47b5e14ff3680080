"""The trials of a study: every arm with every seed, and nothing else."""

from __future__ import annotations

from typing import ClassVar

from dotrain.ablation.study import BASELINE, Arm, Study
from dotrain.core.arm import ArmRun
from dotrain.core.policy import AbstractOptimizer, Plan
from dotrain.core.seeding import derive_seed
from dotrain.core.trial import Trial


class StudyRunner(AbstractOptimizer):
    """Suggests the trials of a study; results change nothing.

    Seed by seed, so that a study that is broken off has whole pairs to compare.
    """

    needs_num_trials: ClassVar[bool] = False

    def __init__(self, study: Study, seed: int) -> None:
        """Make the runner.

        Args:
            study: What to run.
            seed: The run's; the seeds of the study are derived from it.
        """
        self.study = study
        self.seeds = [derive_seed(seed, "ablation", index) for index in range(study.seeds)]

    def initialize(self) -> None:
        """Start at the first arm of the first seed."""
        self._left = iter(
            [(arm, index) for index in range(len(self.seeds)) for arm in self.study.arms]
        )

    def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
        """Return the next arm and seed."""
        following = next(self._left, None)
        if following is None:
            return None
        arm, index = following
        reason = f"seed {index}, {_what(arm)}"
        run = ArmRun(arm.name, index)
        return Trial({}, reason=reason, seed=self.seeds[index], arm=run)

    def may_continue(self, trial: Trial) -> bool:
        """Never: every arm is launched once with each seed."""
        return False

    def plan(self) -> Plan:
        """One launch per arm and seed."""
        size = len(self.study.arms) * len(self.seeds)
        return Plan(configurations=size, launches=size)


def _what(arm: Arm) -> str:
    if arm.name == BASELINE:
        return "the baseline"
    return f"without {', '.join(arm.left_out)}" if arm.left_out else "with everything"
