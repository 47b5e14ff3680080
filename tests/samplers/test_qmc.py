"""Quasi-random points: more even than random ones, each configuration of a finite space once."""

from __future__ import annotations

import pytest
from scipy.stats import qmc

from dotrain.earlystop.none import NoStop
from dotrain.optimizers.model_based import QMC
from dotrain.space import Float, Int, Searchspace
from dotrain.testing import check_sampler, simulate
from dotrain.testing.contracts import example_space

SEQUENCES = ["sobol", "halton"]


def flat(params: object, step: int, seed: int) -> float:
    return 0.0


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_both_sequences_keep_the_contract(sequence: str) -> None:
    check_sampler(lambda: QMC(sequence=sequence).sampler)


@pytest.mark.parametrize("sequence", SEQUENCES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_points_are_far_more_even_than_random_ones(sequence: str, seed: int) -> None:
    space = Searchspace(x=Float(range=(0.0, 1.0)), y=Float(range=(1e-4, 1.0), scale="log"))
    run = simulate(
        QMC(sequence=sequence), NoStop(), flat, space=space, num_trials=64, seed=seed, workers=4
    )
    points = [space.to_unit(trial.params) for trial in run.scheduler.book.trials.values()]
    assert qmc.discrepancy(points) < 0.002  # at random 0.006 to 0.02


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_every_value_comes_before_any_comes_a_third_time(sequence: str) -> None:
    space = Searchspace(n=Int(range=(0, 7)), m=Int(range=(0, 7)))
    run = simulate(QMC(sequence=sequence), NoStop(), flat, space=space, num_trials=8)
    for name in space.names:
        values = [trial.params[name] for trial in run.scheduler.book.trials.values()]
        assert max(map(values.count, values)) <= 2


def test_of_a_conditional_finite_space_each_comes_once() -> None:
    space = example_space()
    run = simulate(QMC(), NoStop(), flat, space=space, num_trials=200, losing=0.1)
    tried = [str(trial.params) for trial in run.scheduler.book.trials.values()]
    assert len(tried) == len(set(tried)) == space.size


def test_a_plan_says_where_sobol_is_most_even() -> None:
    def notes(num_trials: int, sequence: str = "sobol") -> tuple[str, ...]:
        optimizer = QMC(sequence=sequence)
        optimizer.setup(Searchspace(x=Float(range=(0.0, 1.0))), num_trials, "max", 0)
        return optimizer.plan().notes

    assert notes(100) == ("Sobol's points are most even at a power of two: 64 or 128 trials",)
    assert notes(64) == notes(100, "halton") == ()
