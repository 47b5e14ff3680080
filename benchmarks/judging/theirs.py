"""A search by optuna in the same virtual time: a study is asked when a worker is free, and told when a trial ends."""

from __future__ import annotations

import heapq
import itertools
import time
import warnings
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from dotrain.space import Categorical, Discrete, Domain, Float, Int, Params
from judging.problems import Curve, Problem, Trace


def search(sampler: BaseSampler, pruner: BasePruner, problem: Problem) -> Trace:
    """Run a search until the problem's last mark.

    Args:
        sampler: With its seed.
        pruner: Is asked after every step.
        problem: What is searched.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(sampler=sampler, pruner=pruner, direction="maximize")
    distributions = {name: _distribution(one) for name, one in problem.space.domains.items()}
    #: (when, in the order of their making, trial, its curve, how many steps it has made then)
    events: list[tuple[float, int, optuna.Trial, Curve, int]] = []
    order = itertools.count()
    improvements: list[tuple[float, float]] = []
    best = float("-inf")
    trials = 0
    asks_s = 0.0

    def begin(now_s: float) -> None:
        nonlocal trials, asks_s
        if problem.num_trials is not None and trials >= problem.num_trials:
            return
        trials += 1
        began_s = time.perf_counter()
        trial = study.ask(distributions)
        asks_s += time.perf_counter() - began_s
        curve = problem.curve_of(_meant(problem, trial.params))
        heapq.heappush(events, (now_s + curve.durations_s[0], next(order), trial, curve, 1))

    for _ in range(problem.workers):
        begin(0.0)
    while events:
        now_s, _, trial, curve, steps = heapq.heappop(events)
        if now_s > problem.horizon_s * (1 + 1e-9):
            break
        score = curve.scores[steps - 1]
        if score > best:
            best = score
            improvements.append((now_s, score))
        trial.report(score, steps)
        if steps == problem.steps:
            study.tell(trial, score)
            begin(now_s)
        elif trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            begin(now_s)
        else:
            when = now_s + curve.durations_s[steps]
            heapq.heappush(events, (when, next(order), trial, curve, steps + 1))
    return Trace(improvements, trials, asks_s)


def _distribution(domain: Domain) -> BaseDistribution:
    """Return a domain as optuna's users would write it; values that are listed in order by their index."""
    match domain:
        case Categorical():
            return CategoricalDistribution(list(domain.values))
        case Discrete():
            return IntDistribution(0, len(domain.values) - 1)
        case Int():
            return IntDistribution(*domain.range, log=domain.scale == "log")
        case Float():
            return FloatDistribution(*domain.range, log=domain.scale == "log")
    raise TypeError(f"no distribution for {domain}")


def _meant(problem: Problem, shown: dict[str, Any]) -> Params:
    def value_of(name: str, domain: Domain) -> Any:
        return domain.values[shown[name]] if isinstance(domain, Discrete) else shown[name]

    return {name: value_of(name, domain) for name, domain in problem.space.domains.items()}
