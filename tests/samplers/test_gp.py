"""A Gaussian process: few trials, of any space, with trials that run, stop early, diverge."""

from __future__ import annotations

import random
import statistics
from typing import Any

import numpy as np
import pytest

from dotrain.core.sampling import Outcome, Question
from dotrain.core.trial import TrialState
from dotrain.earlystop.none import NoStop
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.model_based import GP
from dotrain.optimizers.random import RandomSearch
from dotrain.samplers.gaussian_process import GaussianProcess
from dotrain.samplers.gp import GPSampler
from dotrain.samplers.process import Learner
from dotrain.space import Categorical, Float, Int, Params, Searchspace
from dotrain.testing import simulate

MIXED = Searchspace(
    lr=Float(range=(1e-5, 1.0), scale="log"),
    units=Int(range=(1, 64)),
    kind=Categorical(values=["a", "b", "c"]),
    decay=Float(range=(0.0, 1.0), when={"kind": ["b", "c"]}),
)


def hill(params: Params, step: int = 0, seed: int = 0) -> float:
    """At most 0, at kind b, lr 0.003, units 40, decay 0.3."""
    found = -((np.log10(params["lr"]) + 2.5) ** 2) - ((params["units"] - 40) / 20) ** 2
    found -= 4 * (params.get("decay", 0.9) - 0.3) ** 2
    return float(found - {"a": 0.0, "b": 0.0, "c": 1.0}[params["kind"]])


def test_it_finds_far_better_values_than_random_search() -> None:
    def best(optimizer: Any, seed: int) -> float:
        run = simulate(
            optimizer, NoStop(), hill, space=MIXED, num_trials=35, seed=seed, steps=1, workers=3,
            diverging=0.05, losing=0.05,
        )  # fmt: skip
        trials = run.scheduler.book.trials.values()
        return max(one.final_metric for one in trials if one.final_metric is not None)

    found = statistics.median(best(GP(), seed) for seed in range(3))
    at_random = statistics.median(best(RandomSearch(), seed) for seed in range(3))
    assert found > 0.2 * at_random, "it is no better than random"


LINE = Searchspace(x=Float(range=(0.0, 1.0)))


def proposal(
    scores: dict[float, float | None],
    running: list[float] = (),  # type: ignore[assignment]
    states: dict[float, TrialState] = {},  # noqa: B006
    space: Searchspace = LINE,
) -> float:
    learner = Learner(GPSampler(), space, seed=0)
    ended = [
        Outcome(number, states.get(x, TrialState.FINISHED), None, score, 1)
        for number, (x, score) in enumerate(scores.items())
    ]
    params = [{"x": x} for x in [*scores, *running]]
    found: float = learner.answer(params, ended, Question(0, len(params), len(ended)))["x"]
    return found


PEAK = {x / 10: -((x / 10 - 0.62) ** 2) for x in range(0, 11, 2)}


def test_what_runs_is_not_proposed_again() -> None:
    first = proposal(PEAK)
    assert first == pytest.approx(0.62, abs=0.05)
    assert abs(proposal(PEAK, [first]) - first) > 1e-3


def test_where_one_failed_is_not_tried_for_ever() -> None:
    first = proposal(PEAK)
    assert abs(proposal({**PEAK, first: None}, states={first: TrialState.FAILED}) - first) > 1e-3


def test_one_that_is_far_too_bad_does_not_flatten_the_others() -> None:
    assert proposal({**PEAK, 0.02: -1e300}) == pytest.approx(0.62, abs=0.05)


def test_one_that_diverged_is_kept_away_from() -> None:
    states = {0.9: TrialState.DIVERGED, 0.95: TrialState.DIVERGED}
    rising = {x / 10: x / 10 for x in range(0, 9, 2)}
    assert proposal(rising) > 0.9
    assert proposal({**rising, 0.9: None, 0.95: None}, states=states) < 0.9


def test_one_that_was_stopped_early_is_never_the_best() -> None:
    stopped = {0.1: TrialState.STOPPED}
    assert proposal({**PEAK, 0.1: 99.0}, states=stopped) > 0.4


def test_of_a_finite_space_none_is_proposed_twice() -> None:
    space = Searchspace(x=Float(range=(0.0, 1.0), step=0.1))
    tried = {round(x / 10, 1): -abs(x - 4.0) for x in range(11) if x != 9}
    assert proposal(tried, space=space) == 0.9


def test_a_level_s_results_alone_are_modelled() -> None:
    learner = Learner(GPSampler(), LINE, seed=0)
    params = [{"x": x} for x in PEAK]
    low = [Outcome(n, TrialState.FINISHED, 1.0, -one["x"], 1) for n, one in enumerate(params)]
    high = [Outcome(n, TrialState.FINISHED, 9.0, PEAK[one["x"]], 9) for n, one in enumerate(params)]
    question = Question(0, len(params), 2 * len(params), 9.0)
    assert learner.answer(params, [*low, *high], question)["x"] == pytest.approx(0.62, abs=0.05)


def test_of_very_many_results_the_best_are_modelled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    begin = GaussianProcess.__init__

    def counted(self: Any, points: Any, scores: Any, *rest: Any) -> None:
        seen.append(len(scores))
        assert points[:, 0].max() > 0.999
        begin(self, points[-40:], scores[-40:], *rest)

    monkeypatch.setattr(GaussianProcess, "__init__", counted)
    rng = random.Random(0)
    proposal({x: x for x in (rng.random() for _ in range(1200))})
    assert seen == [500]


def test_its_likelihood_tells_what_matters_from_what_does_not() -> None:
    rng = np.random.default_rng(0)
    points = rng.random((40, 3))
    points[:, 2] = rng.integers(0, 3, 40)
    scores = np.sin(6 * points[:, 0]) + (points[:, 2] == 1) + rng.normal(0, 0.01, 40)
    model = GaussianProcess(points, scores, np.array([False, False, True]), 0)
    unseen = rng.random((200, 3))
    unseen[:, 2] = rng.integers(0, 3, 200)
    expected = np.sin(6 * unseen[:, 0]) + (unseen[:, 2] == 1)
    assert np.corrcoef(model.mean(unseen), expected)[0, 1] > 0.99


def test_many_trials_are_refused_with_what_to_use_instead() -> None:
    for optimizer in (GP(), ASHA(resource_max=9, sampler="gp")):
        optimizer.setup(MIXED, 10_000, "max", 0)
        with pytest.raises(ValueError, match=r"num_trials 10000 .*1000 trials is the most; use"):
            optimizer.check()
