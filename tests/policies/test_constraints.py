"""No optimizer proposes what doesn't meet the constraints of its space, whoever draws."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain import plugins
from dotrain.core.policy import AbstractOptimizer
from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.trial import Trial
from dotrain.earlystop.none import NoStop
from dotrain.errors import PolicyError
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.grid import GridSearch
from dotrain.optimizers.model_based import ModelSearch
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Categorical, Constraint, Float, Int, LogNormal, Params, Searchspace
from dotrain.store import read_journal
from dotrain.testing import check_optimizer, simulate
from dotrain.testing.contracts import example_curve
from tests.conftest import Project
from tests.policies.test_contracts import OPTIONS

#: CMA-ES takes numbers alone, and has a space of its own.
NAMES = sorted(set(plugins.registered(plugins.OPTIMIZERS)) - {"single", "cmaes"})
TEXTS = ["a * b <= 12", "a >= b", "a + b != 6", 'opt == "sgd" or a <= 4', "momentum * a <= 2"]


def space_of(texts: list[str], *, finite: bool) -> Searchspace:
    space = Searchspace(
        a=Int(range=(1, 6)),
        b=Int(range=(0, 4)),
        opt=Categorical(values=["sgd", ["adam", 1]]),
        momentum=Float(range=(0.0, 1.0), step=0.25 if finite else None, when={"opt": "sgd"}),
        **({} if finite else {"lr": LogNormal(mu=0, sigma=1)}),
    )
    return space.constrained([Constraint(text, space.domains) for text in texts])


def make(name: str) -> AbstractOptimizer:
    options: dict[str, Any] = {"points": 3} if name == "grid" else OPTIONS.get(name, {})
    optimizer: AbstractOptimizer = plugins.load_plugin(plugins.OPTIMIZERS, name)(**options)
    return optimizer


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None)
@given(texts=st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3), finite=st.booleans())
def test_nothing_outside_is_ever_proposed(name: str, texts: list[str], finite: bool) -> None:
    space = space_of(texts, finite=finite)
    run = simulate(make(name), NoStop(), example_curve, space=space, num_trials=16)
    assert run.scheduler.status == "finished"
    tried = [trial.params for trial in run.scheduler.book.trials.values()]
    assert len(tried) >= 8
    assert all(params in space for params in tried)


def test_a_model_of_numbers_alone_proposes_nothing_outside_either() -> None:
    space = Searchspace(a=Int(range=(1, 6)), b=Float(range=(0.0, 4.0)))
    held = space.constrained([Constraint("a * b <= 6", space.domains)])
    run = simulate(make("cmaes"), NoStop(), example_curve, space=held, num_trials=30)
    tried = [trial.params for trial in run.scheduler.book.trials.values()]
    assert len(tried) == 30
    assert all(params in held for params in tried)


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_a_finite_space_is_tried_to_its_end_and_a_killed_run_goes_on_as_it_would(name: str) -> None:
    space = space_of(["a * b <= 2", "a >= b", "momentum >= 0.5"], finite=True)
    check_optimizer(lambda: make(name), space=space, num_trials=12)


def test_a_space_without_constraints_is_drawn_from_as_before() -> None:
    plain, none = space_of([], finite=False), space_of(["a >= 0"], finite=False)
    runs = [
        simulate(RandomSearch(), NoStop(), example_curve, space=space, num_trials=20)
        for space in (plain, none)
    ]
    assert runs[0].decisions == runs[1].decisions


class Stubborn(AbstractSampler):
    """Proposes the same whatever is asked, until it has been asked often enough."""

    def __init__(self, after: int) -> None:
        self.after = after

    def learn_trial(self, number: int, params: Params) -> None:
        pass

    def learn_outcome(self, outcome: Outcome) -> None:
        pass

    def propose(self, question: Question) -> Params:
        x = self.seed_of(question) / 2**31
        return {"x": x / 2 if question.again >= self.after else 0.5 + x / 2}


class Mine(ModelSearch):
    def __init__(self, after: int) -> None:
        self.sampler = Stubborn(after)


@pytest.mark.parametrize("after", [0, 3, 99])
def test_a_model_is_asked_again_and_at_last_a_draw_takes_its_place(after: int) -> None:
    space = Searchspace(x=Float(range=(0.0, 1.0)))
    space = space.constrained([Constraint("x < 0.5", space.domains)])
    run = simulate(Mine(after), NoStop(), example_curve, space=space, num_trials=12)
    tried = [trial.params["x"] for trial in run.scheduler.book.trials.values()]
    assert len(set(tried)) == 12
    assert max(tried) < 0.5


def test_an_optimizer_that_suggests_what_does_not_meet_them_is_refused() -> None:
    class Wild(RandomSearch):
        def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
            return self.create_trial({"x": 0.9})

    space = Searchspace(x=Float(range=(0.0, 1.0)))
    space = space.constrained([Constraint("x < 0.5", space.domains)])
    with pytest.raises(
        PolicyError, match=r"Wild suggested \{'x': 0.9\}, which doesn't meet x < 0.5"
    ):
        simulate(Wild(), NoStop(), example_curve, space=space, num_trials=3)


def test_what_an_optimizer_draws_by_itself_is_drawn_again() -> None:
    class OwnDraws(RandomSearch):
        def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
            params = self.draw_untried(lambda: {"x": self.rng.random()})
            return None if params is None else self.create_trial(params)

    space = Searchspace(x=Float(range=(0.0, 1.0)))
    space = space.constrained([Constraint("x < 0.1", space.domains)])
    run = simulate(OwnDraws(), NoStop(), example_curve, space=space, num_trials=9)
    assert all(trial.params["x"] < 0.1 for trial in run.scheduler.book.trials.values())


def test_a_grid_without_a_point_that_meets_them_is_refused() -> None:
    space = space_of(["a * b == 7"], finite=True)
    grid = GridSearch()
    grid.setup(space, None, "max", 0)
    with pytest.raises(ValueError, match="no point of the grid meets"):
        grid.check()


def test_asha_with_a_model_keeps_to_them_too() -> None:
    space = space_of(["a * b <= 12", "a >= b"], finite=True)
    optimizer = ASHA(resource_max=9, sampler="tpe")
    run = simulate(optimizer, NoStop(), example_curve, space=space, num_trials=24)
    assert all(trial.params in space for trial in run.scheduler.book.trials.values())


def test_a_call_from_python_says_them_too_and_its_run_goes_on_with_them(project: Project) -> None:
    script = """
        from dotrain import Searchspace, experiment

        def train(a, b, scale): return float(a * b * scale)

        if __name__ == "__main__":
            space = Searchspace(a=("INTEGER", [1, 8]), b=("DOUBLE", [0.0, 8.0]))
            given = dict(num_trials={number}, hparams={{"scale": 2}}, cluster={{"kind": "inline"}}, quiet=True)
            result = experiment.lagom(
                train, space, space_constraints=["a * b * scale <= 20", "a >= b"], {resume} **given
            )
            print(result.best["value"])
    """
    for number, resume in ((9, ""), (15, "resume='latest',")):
        project.write("script.py", script.format(number=number, resume=resume))
        done = subprocess.run(
            [sys.executable, "script.py"], cwd=project.path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    (run_dir,) = (project.path / "runs" / "lagom").iterdir()
    launches = [
        r["params"] for r in read_journal(run_dir / "journal.jsonl") if r["type"] == "Launch"
    ]
    assert len(launches) == 15
    assert all(p["a"] * p["b"] * 2 <= 20 and p["a"] >= p["b"] for p in launches)
