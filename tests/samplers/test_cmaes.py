"""CMA-ES: told results as they come, of numbers only."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from dotrain.earlystop.none import NoStop
from dotrain.optimizers.model_based import CMAES
from dotrain.optimizers.random import RandomSearch
from dotrain.samplers.evolution import Evolution
from dotrain.space import Categorical, Float, Int, Params, Searchspace
from dotrain.testing import check_optimizer, simulate

SPACE = Searchspace(
    **{f"x{i}": Float(range=(-5.0, 5.0)) for i in range(3)},
    n=Int(range=(0, 10)),
    w=Int(range=(1, 512), scale="log"),
)


def bowl(params: Params, step: int = 0, seed: int = 0) -> float:
    """Worst far away; 0 at x = 1.3, n = 7, w = 32."""
    off = [(params[f"x{i}"] - 1.3) / 10 for i in range(3)]
    off += [(params["n"] - 7) / 10, (math.log2(params["w"]) - 5) / 9]
    return sum(one**2 for one in off)


def best(optimizer: Any, seed: int, **faults: Any) -> float:
    run = simulate(
        optimizer,
        NoStop(),
        bowl,
        space=SPACE,
        num_trials=150,
        direction="min",
        seed=seed,
        steps=1,
        **faults,
    )
    trials = run.scheduler.book.trials.values()
    return min(one.final_metric for one in trials if one.final_metric is not None)


@pytest.mark.parametrize("faults", [{}, {"losing": 0.1, "diverging": 0.2, "workers": 8}])
def test_it_finds_far_better_values_than_random_search(faults: dict[str, Any]) -> None:
    found = [best(CMAES(), seed, **faults) for seed in range(3)]
    at_random = [best(RandomSearch(), seed, **faults) for seed in range(3)]
    assert statistics.median(found) < 0.1 * statistics.median(at_random)


def test_a_continuum_and_one_parameter_will_do() -> None:
    check_optimizer(CMAES, space=Searchspace(units=Int(range=(1, 9)), lr=Float(range=(0.0, 1.0))))
    check_optimizer(lambda: CMAES(population=4), space=Searchspace(units=Int(range=(1, 9))))


def test_it_moves_to_what_is_best_and_no_further_for_one_that_is_far_off() -> None:
    def mean(first: list[float]) -> list[float]:
        evolution = Evolution(2, 0, population=4)
        near = [[0.5, 0.5], [0.55, 0.5], [0.5, 0.55], [0.45, 0.5]]
        for _ in range(12):  # narrow by now
            evolution.tell(near)
        evolution.tell([first, *near[1:]])
        drawn = evolution.ask(0, 200)
        return [statistics.mean(column) for column in zip(*drawn, strict=True)]

    still, right, further = (mean([x, 0.5])[0] for x in (0.5, 0.7, 1.0))
    assert right - still > 0.005
    assert further == pytest.approx(right, abs=0.002)  # half as far again, else


def test_where_all_are_alike_it_begins_anew_with_twice_the_population() -> None:
    evolution = Evolution(2, 0, population=4)
    for _ in range(1000):
        evolution.tell([[0.5, 0.5]] * evolution.population)
        if evolution.population == 8:
            break
    assert evolution.population == 8
    places = evolution.ask(0, 100)
    assert statistics.stdev(x for x, _ in places) > 0.1


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"k": Categorical(values=["a", "b"])}, "'k' is categorical; use 'tpe' or 'gp'"),
        (
            {"n": Int(range=(1, 2)), "x": Float(range=(0.0, 1.0), when={"n": 1})},
            "'x' has a condition; use 'tpe' or 'gp'",
        ),
        ({}, "nothing in search.space"),
    ],
)
def test_what_it_cannot_search_is_refused_before_anything_runs(
    space: dict[str, Any], told: str
) -> None:
    optimizer = CMAES()
    optimizer.setup(Searchspace(**space), 10, "max", 0)
    with pytest.raises(ValueError, match=told):
        optimizer.check()
