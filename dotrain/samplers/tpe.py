"""optuna's TPE as a sampler.

optuna's own sampler learns by what lies in a study's storage, and draws from a generator that it keeps. Here a
storage shows what is known, as trials of optuna, and each question has a sampler with a seed of its own: so a
proposal is a function of what is known, and nothing of a generator has to be kept for a resume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.trial import TrialState
from dotrain.samplers.packages import require
from dotrain.space import Params, Searchspace

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


@final
class TPESampler(AbstractSampler):
    """As of `dotrain.optimizers.model_based.TPE`."""

    def __init__(self, candidates: int = 24) -> None:
        """Make one.

        Args:
            candidates: Configurations of which the most promising is taken (>= 1).
        """
        self._candidates = candidates

    def check(self, space: Searchspace, num_trials: int | None) -> None:
        """Refuse an empty space, and a machine without optuna."""
        require("tpe", "optuna", extra="optuna")
        if not space.names:
            raise ValueError("there is nothing in search.space to make a model of")

    def begin(self, space: Searchspace, seed: int) -> None:
        """Forget everything."""
        super().begin(space, seed)
        self._params: list[Params] = []
        #: How many scores a result has.
        self._metrics = 1
        self._last: dict[int, dict[float | None, Outcome]] = {}
        #: What optuna is shown of each trial, by level; None is nothing.
        self._shown: dict[float | None, list[FrozenTrial | None]] = {}

    def learn_trial(self, number: int, params: Params) -> None:
        """Take it for one that runs."""
        assert number == len(self._params), "a trial has been left out"
        self._params.append(params)

    def learn_outcome(self, outcome: Outcome) -> None:
        """Show it from now on as it has ended."""
        self._metrics = max(self._metrics, len(outcome.scores))
        of_trial = self._last.setdefault(outcome.number, {})
        of_trial[None] = of_trial[outcome.budget] = outcome
        for level, shown in self._shown.items():
            if outcome.number < len(shown):
                shown[outcome.number] = self._show(outcome.number, level)

    def propose(self, question: Question) -> Params:
        """Ask optuna."""
        from dotrain.samplers.optuna_study import ask, quiet

        level, shown = question.level, self._shown.setdefault(question.level, [])
        shown += [self._show(number, level) for number in range(len(shown), question.trials)]
        with quiet():
            from optuna.samplers import TPESampler as OptunaSampler

            sampler = OptunaSampler(
                n_startup_trials=1,
                n_ei_candidates=self._candidates,
                seed=self.seed_of(question),
                multivariate=True,
                group=any(domain.when for domain in self.space.domains.values()),
                constant_liar=True,
            )
            known = [trial for trial in shown if trial is not None]
            return ask(sampler, self.space, known, self._metrics)

    def _show(self, number: int, level: float | None) -> FrozenTrial | None:
        """Return what optuna is to know of a trial; None if nothing."""
        from dotrain.samplers.optuna_study import complete, pruned, running

        known = (self.space, number, self._params[number])
        if number not in self._last:
            return running(*known)
        outcome = self._last[number].get(level)
        if outcome is None or outcome.state is TrialState.FAILED:
            return None
        if outcome.scores:  # optuna has no way to show that it was stopped; it counts as it is
            return complete(*known, outcome.scores, outcome.violations)
        if outcome.state is TrialState.FINISHED and outcome.score is not None:
            return complete(*known, [outcome.score], outcome.violations)
        return pruned(*known, outcome.steps, outcome.score, outcome.violations)
