"""Every sampler of ours keeps the contract."""

from __future__ import annotations

import random

import pytest

from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.trial import TrialState
from dotrain.samplers import NAMES, make_sampler
from dotrain.samplers.process import Learner
from dotrain.space import Float, Params, Searchspace
from dotrain.testing import check_sampler


@pytest.mark.parametrize("level", [None, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_keeps_the_contract(name: str, level: float | None) -> None:
    check_sampler(lambda: make_sampler(name), level=level)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "qmc"])
def test_every_sampler_that_learns_goes_where_results_are_better(name: str) -> None:
    space = Searchspace(x=Float(range=(0.0, 1.0)), y=Float(range=(1e-4, 1.0), scale="log"))
    learner = Learner(make_sampler(name), space, seed=0)
    rng = random.Random(0)
    params = [space.sample(rng) for _ in range(60)]
    scores = [-abs(one["x"] - 0.8) for one in params]
    ended = [Outcome(n, TrialState.FINISHED, None, s, 1) for n, s in enumerate(scores)]
    learner.learn(params, ended)
    found = [learner.answer([], [], Question(n, 60, 60))["x"] for n in range(20)]
    assert sum(abs(x - 0.8) for x in found) / 20 < 0.15  # at random 0.34


class Nearby(AbstractSampler):
    """Proposes by what it has kept from the last question, which no sampler may."""

    def begin(self, space: Searchspace, seed: int) -> None:
        super().begin(space, seed)
        self._asked = 0

    def learn_trial(self, number: int, params: Params) -> None:
        pass

    def learn_outcome(self, outcome: Outcome) -> None:
        pass

    def propose(self, question: Question) -> Params:
        self._asked += 1
        return self.space.sample(random.Random(f"{self._seed}/{self._asked}"))


def test_the_kit_notices_a_sampler_that_goes_by_what_it_was_asked_before() -> None:
    with pytest.raises(AssertionError, match="learned at once, it proposes something else"):
        check_sampler(Nearby)
