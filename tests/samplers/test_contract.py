"""Every sampler of ours keeps the contract."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from dotrain.config.errors import ConfigError
from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.trial import TrialState
from dotrain.earlystop.none import NoStop
from dotrain.optimizers.model_based import TPE
from dotrain.samplers import NAMES, make_sampler, packages
from dotrain.samplers.process import Learner
from dotrain.space import Float, Int, Params, Searchspace
from dotrain.testing import check_sampler, simulate
from tests.conftest import Project
from tests.policies.test_contracts import NUMBERS

#: For those that don't take every kind of domain.
SPACES = {"cmaes": NUMBERS}
CONTINUUM = Searchspace(x=Float(range=(0.0, 1.0)), units=Int(range=(1, 100), scale="log"))


@pytest.mark.parametrize("level", [None, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_keeps_the_contract(name: str, level: float | None) -> None:
    space = SPACES.get(name) if level is None else CONTINUUM
    check_sampler(lambda: make_sampler(name), level=level, space=space)


@pytest.mark.parametrize("metrics", [2, 3])
@pytest.mark.parametrize("name", ["tpe", "qmc"])
def test_a_sampler_that_takes_several_metrics_keeps_the_contract(name: str, metrics: int) -> None:
    check_sampler(lambda: make_sampler(name), metrics=metrics)


def test_tpe_goes_to_where_the_front_is_and_keeps_constraints_there() -> None:
    """The front lies between 0.2 and 0.8; what is right of 0.6 is infeasible."""
    space = Searchspace(x=Float(range=(0.0, 1.0)))
    learner = Learner(make_sampler("tpe"), space, seed=0)
    points = [{"x": number * 7 % 60 / 60} for number in range(60)]
    ended = [
        Outcome(
            *(n, TrialState.FINISHED, None, -abs(x - 0.2), 1, (x - 0.6,)),
            scores=(-abs(x - 0.2), -abs(x - 0.8)),
        )
        for n, x in enumerate(point["x"] for point in points)
    ]
    learner.learn(points, ended)
    found = [learner.answer([], [], Question(n, 60, 60))["x"] for n in range(30)]
    assert sum(0.15 < x < 0.65 for x in found) > 24


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


@pytest.mark.parametrize("name", NAMES)
def test_a_library_that_is_missing_is_refused_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda module: None)
    extra = {"tpe": "optuna"}.get(name, name)
    with pytest.raises(ValueError, match=rf"'{name}' needs .*: pip install 'dotrain\[{extra}\]'"):
        make_sampler(name).check(NUMBERS, 10)


@pytest.mark.parametrize("name", NAMES)
def test_making_and_checking_one_imports_no_library_of_it(name: str) -> None:
    code = f"""
import sys
from dotrain.samplers import make_sampler
from dotrain.space import Int, Searchspace
make_sampler({name!r}).check(Searchspace(n=Int(range=(1, 9))), 10)
print(sorted({{"optuna", "scipy", "cmaes", "sklearn", "torch"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        ("gp", r"search\.optimizer: num_trials 10000 is more than .* use 'tpe'"),
        ("cmaes", r"search\.optimizer: CMA-ES needs values in an order, and 'k' is categorical"),
    ],
)
def test_what_it_cannot_search_is_refused_with_its_place(
    project: Project, optimizer: str, told: str
) -> None:
    space = {"k": {"type": "categorical", "values": ["a", "b"]}}
    search = {"space": space, "num_trials": 10_000, "optimizer": {"name": optimizer}}
    with pytest.raises(ConfigError, match=told):
        project.run("def train(k): return 1.0", search=search)
    assert not (project.path / "runs").exists()


def test_a_draw_in_place_of_what_was_tried_before_says_so() -> None:
    space = Searchspace(n=Int(range=(1, 6)))
    run = simulate(
        TPE(startup_trials=2),
        NoStop(),
        lambda params, step, _: params["n"],
        space=space,
        num_trials=6,
    )
    reasons = {launch.reason for launch in run.launches}
    assert reasons <= {
        "random draw",
        "proposed by the sampler",
        "random draw: the proposal was tried",
    }
    assert "random draw: the proposal was tried" in reasons
