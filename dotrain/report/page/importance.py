"""Which hyperparameters mattered, as far as the trials can tell; by optuna's PED-ANOVA.

Source: Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance
in Arbitrary Subspaces", IJCAI 2023.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from dotrain.core.policy import Direction, sign_of
from dotrain.core.trial import Trial
from dotrain.report.page.parameters import Parameter

#: With fewer trials the best of them are too few to be told from the rest.
LEAST_TRIALS = 20
#: The best trials are to be this many, and no smaller share than the method's usual one.
_LEAST_BEST, _USUAL_SHARE, _LARGEST_SHARE = 10, 0.1, 0.5
#: Numbers of so few values are taken for categories: the method smooths numbers, and would see
#: gaps between them as something the best trials chose.
_FEW = 10
#: How often the values are shuffled to see what chance gives: where nothing matters, one search in
#: 21 goes beyond the most of 20.
_SHUFFLES = 20


class Score(NamedTuple):
    """How much one hyperparameter mattered.

    Attributes:
        name: Its name.
        share: Of what all of them matter together.
        chance: The most it gets when the values are shuffled among the trials.
    """

    name: str
    share: float
    chance: float


@dataclass(frozen=True)
class Importance:
    """An estimate, or why there is none.

    Attributes:
        scores: The most important first; empty if there is no estimate.
        trials: How many it is from.
        budget: The steps after which the trials were compared; None if each at its end.
        best_share: The share of the trials that is compared with all.
        left_out: Hyperparameters that some trials are without.
        why_not: Why there is no estimate, for people; or ``""``.
        shuffles: How often the values were shuffled to see what chance gives.
    """

    scores: Sequence[Score]
    trials: int
    budget: float | None
    best_share: float
    left_out: Sequence[str]
    why_not: str = ""
    shuffles: int = _SHUFFLES


def importance_of(
    trials: Sequence[Trial], parameters: Sequence[Parameter], direction: Direction
) -> Importance:
    """Estimate how much each hyperparameter mattered.

    Args:
        trials: All of them; those without a value don't count.
        parameters: What was searched.
        direction: ``max`` or ``min``.
    """
    valued, budget = _comparable(trials)
    ranked = [parameter for parameter in parameters if not parameter.conditional]
    left_out = [parameter.name for parameter in parameters if parameter.conditional]
    size = len(valued)
    best_share = min(_LARGEST_SHARE, max(_USUAL_SHARE, _LEAST_BEST / max(1, size)))

    def answer(scores: Sequence[Score] = (), why_not: str = "") -> Importance:
        return Importance(scores, size, budget, best_share, left_out, why_not)

    if size < LEAST_TRIALS:
        return answer(why_not=f"too few trials with a value: {size}; it takes {LEAST_TRIALS}")
    if len(ranked) < 2:
        return answer(why_not="it takes two hyperparameters that every trial has")
    if len({value for _, value in valued}) < 2:
        return answer(why_not="every trial has the same value")
    try:
        measure = _Measure([params for params, _ in valued], ranked, best_share)
    except (ImportError, TypeError):
        return answer(
            why_not="it takes optuna 4.7 or newer, which isn't installed: "
            "pip install 'dotrain[optuna]'"
        )
    sign = sign_of(direction)
    return answer(_scores(measure, [sign * value for _, value in valued]))


def _comparable(
    trials: Sequence[Trial],
) -> tuple[list[tuple[Mapping[str, Any], float]], float | None]:
    """Return parameters and values that may be compared, and after how many steps they are.

    Values after one step and after eighty can't: where trials have budgets, each counts with its
    value at the lowest rung, which all of them have.
    """
    budgets = {result.budget for trial in trials for result in trial.results}
    lowest = min((budget for budget in budgets if budget is not None), default=None)
    if len(budgets) < 2 or lowest is None:
        ended = [(t.params, t.final_metric) for t in trials]
        return [(params, value) for params, value in ended if value is not None], None
    at_lowest: list[tuple[Mapping[str, Any], float]] = [
        (trial.params, result.value)
        for trial in trials
        for result in trial.results[:1]
        if result.budget == lowest
    ]
    return at_lowest, lowest


class _Measure:
    """PED-ANOVA over fixed configurations, for any values of them."""

    def __init__(
        self, params: Sequence[Mapping[str, Any]], parameters: Sequence[Parameter], share: float
    ) -> None:
        """Load optuna.

        Raises:
            ImportError: If it isn't installed.
            TypeError: If it is older than 4.7.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
            from optuna.importance import PedAnovaImportanceEvaluator

            self._evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
        self._optuna = optuna
        shown = [{p.name: p.shown(one[p.name]) for p in parameters} for one in params]
        domains = {p.name: self._domain(p, [one[p.name] for one in shown]) for p in parameters}
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._study = optuna.create_study()
        optuna.logging.set_verbosity(level)
        self._study.add_trials(
            optuna.trial.create_trial(params=one, distributions=domains, value=0.0) for one in shown
        )

    def _domain(self, parameter: Parameter, values: Sequence[Any]) -> Any:
        kinds = self._optuna.distributions
        if parameter.categories:
            return kinds.CategoricalDistribution(parameter.categories)
        if len(set(values)) <= _FEW:
            return kinds.CategoricalDistribution(sorted(set(values)))
        return kinds.FloatDistribution(min(values), max(values), log=parameter.log)

    def __call__(self, scores: Sequence[float]) -> dict[str, float]:
        """Return the importance by name, of values of which larger ones are better."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: dict[str, float] = self._optuna.importance.get_param_importances(
                self._study,
                evaluator=self._evaluator,
                # The evaluator takes smaller ones for better.
                target=lambda trial: -scores[trial.number],
                normalize=False,
            )
        return found


def _scores(measure: _Measure, values: Sequence[float]) -> list[Score]:
    found = measure(values)
    total = sum(found.values()) or 1.0
    rng = Random(0)
    shuffled = list(values)
    chance = dict.fromkeys(found, 0.0)
    for _ in range(_SHUFFLES):
        rng.shuffle(shuffled)
        for name, value in measure(shuffled).items():
            chance[name] = max(chance[name], value)
    scores = [Score(name, value / total, chance[name] / total) for name, value in found.items()]
    return sorted(scores, key=lambda score: -score.share)
