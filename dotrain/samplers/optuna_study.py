"""A question to a sampler of optuna: what it is shown, and how its answer is read.

Importing this imports optuna.
"""

from __future__ import annotations

import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, final

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from dotrain.space import Categorical, Domain, Float, Int, Params, Searchspace

#: Nothing that is asked here depends on when.
_EVER = datetime(1970, 1, 1)

#: How far beyond a constraint is what isn't known to keep it.
_FAR = 1e9


@contextmanager
def quiet() -> Iterator[None]:
    """Keep optuna from telling of studies, and of what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


def running(space: Searchspace, number: int, params: Params) -> FrozenTrial:
    """Return a trial that runs.

    Args:
        space: What is searched.
        number: Of the trial.
        params: Its configuration.
    """
    return _trial(space, number, params, TrialState.RUNNING)


def complete(
    space: Searchspace,
    number: int,
    params: Params,
    scores: Sequence[float],
    violations: Sequence[float] = (),
) -> FrozenTrial:
    """Return a trial that has finished, as of `running`, with a score for each metric, and how it keeps constraints."""
    return _trial(space, number, params, TrialState.COMPLETE, scores, violations=violations)


def pruned(
    space: Searchspace,
    number: int,
    params: Params,
    steps: int,
    score: float | None,
    violations: Sequence[float] = (),
) -> FrozenTrial:
    """Return a trial that was stopped after some steps, as of `complete`; worse than all if it has no score."""
    reports = {} if score is None else {steps: score}
    return _trial(space, number, params, TrialState.PRUNED, reports=reports, violations=violations)


def _trial(
    space: Searchspace,
    number: int,
    params: Params,
    state: TrialState,
    scores: Sequence[float] | None = None,
    reports: Mapping[int, float] | None = None,
    violations: Sequence[float] = (),
) -> FrozenTrial:
    ended = None if state is TrialState.RUNNING else _EVER
    # The trial that asks is the study's first, and has number 0.
    trial = FrozenTrial(
        number=number + 1,
        state=state,
        value=None,
        values=scores,
        datetime_start=_EVER,
        datetime_complete=ended,
        params={name: _shown(space.domains[name], value) for name, value in params.items()},
        distributions={name: _distribution(space.domains[name]) for name in params},
        user_attrs={},
        system_attrs={},
        intermediate_values=dict(reports or {}),
        trial_id=number + 1,
    )
    for index, amount in enumerate(violations):
        trial.set_constraint(str(index), min(amount, _FAR))
    return trial


def ask(
    sampler: BaseSampler, space: Searchspace, trials: list[FrozenTrial], metrics: int = 1
) -> Params:
    """Return the configuration that a sampler proposes.

    Args:
        sampler: One of optuna's.
        space: What to propose from.
        trials: What it is to know, in the order of their numbers; larger scores are better.
        metrics: How many scores a trial has that has finished.
    """
    directions = ["maximize"] * metrics
    study = optuna.create_study(storage=_Shown(trials), sampler=sampler, directions=directions)
    trial = study.ask()

    def value_of(name: str) -> Any:
        domain = space.domains[name]
        return _meant(domain, _suggested(trial, name, _distribution(domain)))

    return space.build(value_of)


def _suggested(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    match distribution:
        case CategoricalDistribution():
            return trial.suggest_categorical(name, distribution.choices)
        case IntDistribution():
            return trial.suggest_int(
                name, distribution.low, distribution.high, log=distribution.log
            )
        case FloatDistribution():
            return trial.suggest_float(
                name, distribution.low, distribution.high, log=distribution.log
            )
    raise TypeError(f"no way to ask for {distribution}")


def _distribution(domain: Domain) -> BaseDistribution:
    """Return what a domain is to optuna: its own range, its indices, or the unit interval, which keeps its prior."""
    if isinstance(domain, Float) and _has_own_scale(domain):
        return FloatDistribution(*domain.range, log=domain.scale == "log")
    if isinstance(domain, Int) and _has_own_scale(domain):
        return IntDistribution(*domain.range, log=True)
    if domain.size is None:
        return FloatDistribution(0.0, 1.0)
    if isinstance(domain, Categorical):
        return CategoricalDistribution(range(domain.size))
    return IntDistribution(0, domain.size - 1)


def _shown(domain: Domain, value: Any) -> Any:
    """Return what a value is to optuna."""
    if _has_own_scale(domain):
        return value
    if domain.size is None:
        return domain.to_unit(value)
    return round(domain.to_unit(value) * domain.size - 0.5)


def _meant(domain: Domain, shown: Any) -> Any:
    """Return the value that optuna means."""
    if isinstance(domain, Int | Float) and _has_own_scale(domain):
        low, high = domain.range
        return min(max(shown, low), high)
    if domain.size is None:
        return domain.from_unit(shown)
    return domain.from_unit((shown + 0.5) / domain.size)


def _has_own_scale(domain: Domain) -> bool:
    """Whether optuna has a distribution for a domain as it is; else its values are counted, or it is no plain range."""
    if isinstance(domain, Int):
        return domain.scale == "log"
    return isinstance(domain, Float) and domain.step is None


@final
class _Shown(InMemoryStorage):  # type: ignore[misc]
    """A storage whose studies seem to have some trials beside the one that is asked for."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        super().__init__()
        self._trials = trials

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return [trial for trial in self._trials if states is None or trial.state in states]
