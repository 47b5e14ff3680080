"""`search.try_first`: configurations that are tried before any other, also in a run that goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dotrain import AbstractOptimizer, Trial, experiment
from dotrain.config.errors import ConfigError
from dotrain.core.policy import Suggestion
from dotrain.earlystop.none import NoStop
from dotrain.errors import PolicyError
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.grid import GridSearch
from dotrain.optimizers.model_based import TPE
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Categorical, Float, Int, Searchspace
from dotrain.store import read_journal
from dotrain.testing import simulate
from dotrain.testing.contracts import example_curve
from tests.conftest import Project

TRAIN = "def train(lr, units=1, kind='a', extra=0, budget=1): return lr"
SPACE: dict[str, Any] = {
    "lr": {"type": "float", "range": [0.0, 1.0]},
    "kind": {"type": "categorical", "values": ["a", "b"]},
    "extra": {"type": "int", "range": [0, 9], "when": {"kind": "b"}},
}


def search(**sections: Any) -> dict[str, Any]:
    return {"space": SPACE, "num_trials": 5, **sections}


def tried(run_dir: Path) -> list[Any]:
    records = read_journal(run_dir / "journal.jsonl")
    return [(one["params"], one["reason"]) for one in records if one["type"] == "Launch"]


@pytest.mark.parametrize("optimizer", ["random", "asha", "tpe", "hyperband"])
def test_they_are_the_first_that_any_optimizer_tries(project: Project, optimizer: str) -> None:
    first = [{"lr": 0.1, "kind": "b", "extra": 3}, {"lr": 0.25, "kind": "a"}]
    options = {"resource_max": 3} if optimizer in ("asha", "hyperband") else {}
    result = project.run(
        TRAIN,
        search=search(optimizer={"name": optimizer, **options}, try_first=first),
        cluster={"kind": "inline"},
    )
    assert [params for params, _ in tried(result.run_dir)[:2]] == first
    assert {reason for _, reason in tried(result.run_dir)[:2]} == {
        "to be tried first (search.try_first)"
    }
    assert len(result.trials) == 5


def test_what_is_left_out_of_one_is_drawn(project: Project) -> None:
    result = project.run(
        TRAIN, search=search(try_first=[{"lr": 0.1}, {}]), cluster={"kind": "inline"}
    )
    first = tried(result.run_dir)[0][0]
    assert first["lr"] == 0.1
    assert first["kind"] in ("a", "b")
    assert ("extra" in first) == (first["kind"] == "b")


def test_a_grid_tries_them_first_and_no_point_twice() -> None:
    space = Searchspace(n=Int(range=(1, 3)), kind=Categorical(values=["a", "b"]))
    grid = GridSearch()
    grid.setup(space, None, "max", 0)
    grid.initialize()
    grid.first.append({"n": 2, "kind": "b"})
    suggested = []
    while (trial := grid.get_suggestion()) is not None:
        suggested.append(trial.params)
    assert suggested[0] == {"n": 2, "kind": "b"}
    assert sorted(map(str, suggested)) == sorted(map(str, space.configurations()))


def test_of_a_finite_space_none_is_tried_twice() -> None:
    class First(RandomSearch):
        def initialize(self) -> None:
            super().initialize()
            self.first.extend([{"n": 2}, {"n": 2}])

    run = simulate(
        First(), NoStop(), example_curve, space=Searchspace(n=Int(range=(1, 3))), num_trials=9
    )
    found = [trial.params["n"] for trial in run.scheduler.book.trials.values()]
    assert found[0] == 2
    assert sorted(found) == [1, 2, 3]


@pytest.mark.parametrize(
    ("first", "place", "message"),
    [
        ({"lr": 7.0}, "search.try_first[0].lr", "7.0 is not in float[0, 1]"),
        (
            {"lrr": 0.1},
            "search.try_first[0].lrr",
            "no parameter of search.space; did you mean 'lr'?",
        ),
        ({"extra": 3}, "search.try_first[0].extra", "is in use only where kind = b; give that too"),
        (
            {"kind": "a", "extra": 3},
            "search.try_first[0].extra",
            "is in use only where kind = b; give that too",
        ),
    ],
)
def test_one_that_can_not_be_is_refused_where_it_stands(
    project: Project, first: dict[str, Any], place: str, message: str
) -> None:
    with pytest.raises(ConfigError) as told:
        project.run(TRAIN, search=search(try_first=[first]), cluster={"kind": "inline"})
    assert f"{place}: {message}" in str(told.value)


def test_an_optimizer_that_does_not_take_them_is_told_so() -> None:
    class Own(AbstractOptimizer):
        def initialize(self) -> None:
            self.first.append({"x": 0.5})

        def get_suggestion(self, trial: Trial | None = None) -> Suggestion:
            return self.create_trial({"x": 0.25})

    with pytest.raises(PolicyError, match="Own suggests another configuration than those"):
        simulate(
            Own(),
            NoStop(),
            example_curve,
            space=Searchspace(x=Float(range=(0.0, 1.0))),
            num_trials=3,
        )


@pytest.mark.parametrize("optimizer", [RandomSearch, TPE, lambda: ASHA(resource_max=9)])
def test_a_search_with_some_to_try_first_goes_on_as_it_would_have(optimizer: Any) -> None:
    def make() -> AbstractOptimizer:
        made: AbstractOptimizer = optimizer()
        setup = made.setup

        def with_first(*given: Any) -> None:
            setup(*given)
            made.first.extend([{"x": 0.5}, {}])

        made.setup = with_first  # type: ignore[method-assign]
        return made

    given: dict[str, Any] = {
        "space": Searchspace(x=Float(range=(0.0, 1.0))),
        "num_trials": 16,
        "workers": 1,
    }
    whole = simulate(make(), NoStop(), lambda params, step, _: params["x"] * step, **given)
    assert next(iter(whole.launches)).params == {"x": 0.5}
    found = [launch.params for launch in whole.launches]
    for after in range(1, len(whole.log), 7):
        resumed = simulate(
            make(),
            NoStop(),
            lambda params, step, _: params["x"] * step,
            killed=whole,
            after=after,
            **given,
        )
        again = [launch.params for launch in resumed.launches]
        assert [one for i, one in enumerate(again) if one not in again[:i]] == [
            one for i, one in enumerate(found) if one not in found[:i]
        ]


def resume(project: Project, run_dir: Path, first: list[Any], num_trials: int) -> Any:
    given = f"search.try_first={json.dumps(first)}"
    return project.cli(
        "resume", str(run_dir), "-q", "-s", given, "-s", f"search.num_trials={num_trials}"
    )


def test_more_may_be_added_when_a_run_goes_on_and_once_more(project: Project) -> None:
    a, b, c = ({"lr": lr, "kind": "a"} for lr in (0.125, 0.25, 0.5))
    result = project.run(TRAIN, search=search(try_first=[a]), cluster={"workers": 1})
    done = resume(project, result.run_dir, [a, b], 7)
    assert done.returncode == 0, done.stderr
    done = resume(project, result.run_dir, [a, b, c], 8)
    assert done.returncode == 0, done.stderr
    params = [params for params, _ in tried(result.run_dir)]
    assert (params[0], params[5], params[7]) == (a, b, c)
    assert len(params) == 8


def test_none_of_them_may_be_changed_or_find_no_room(project: Project) -> None:
    a, b = {"lr": 0.125, "kind": "a"}, {"lr": 0.25, "kind": "a"}
    result = project.run(TRAIN, search=search(try_first=[a]), cluster={"workers": 1})
    done = resume(project, result.run_dir, [b], 7)
    assert done.returncode == 2
    assert "more may be added at its end, and nothing else" in done.stderr
    done = resume(project, result.run_dir, [a, b], 5)
    assert done.returncode == 2
    assert "leaves room for 0: -s search.num_trials=6" in done.stderr


def test_a_call_from_python_takes_them(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.path)
    result = experiment.lagom(
        lambda lr: lr,
        searchspace=Searchspace(lr=Float(range=(0.0, 1.0))),
        num_trials=2,
        direction="max",
        try_first=[{"lr": 0.125}],
        cluster={"kind": "inline"},
        quiet=True,
    )
    assert tried(result.run_dir)[0][0] == {"lr": 0.125}


def test_one_that_no_draw_brings_within_the_constraints_is_refused(project: Project) -> None:
    given = {"space_constraints": ["lr <= 0.5"], "try_first": [{"lr": 0.75}]}
    with pytest.raises(ConfigError, match=r"nothing that has these values meets lr <= 0\.5"):
        project.run(TRAIN, search=search(**given), cluster={"kind": "inline"})


def test_what_is_drawn_for_one_meets_the_constraints(project: Project) -> None:
    space = {name: {"type": "float", "range": [0.0, 1.0]} for name in ("lr", "units")}
    given = {"space_constraints": ["lr + units <= 0.5"], "try_first": [{"lr": 0.25}] * 4}
    result = project.run(TRAIN, search=search(**given, space=space), cluster={"kind": "inline"})
    first = [params for params, _ in tried(result.run_dir)[:4]]
    assert all(one["lr"] == 0.25 and one["units"] <= 0.25 for one in first)


def test_what_was_added_need_not_be_said_again(project: Project) -> None:
    a, b = ({"lr": lr, "kind": "a"} for lr in (0.125, 0.25))
    result = project.run(TRAIN, search=search(try_first=[a]), cluster={"workers": 1})
    assert resume(project, result.run_dir, [a, b], 7).returncode == 0
    done = project.cli("resume", str(result.run_dir), "-q", "-s", "search.num_trials=9")
    assert done.returncode == 0, done.stderr
    assert len(tried(result.run_dir)) == 9
