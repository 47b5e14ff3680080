"""`search.constraints`: who is beyond never wins, and models learn of it."""

from __future__ import annotations

from typing import Any

import pytest

from dotrain.config.errors import ConfigError
from dotrain.core.constraints import Constraints
from dotrain.core.marks import Mark
from dotrain.core.sampling import Outcome, Question
from dotrain.core.trial import Trial, TrialState
from dotrain.runs.result import Result
from dotrain.samplers import make_sampler
from dotrain.samplers.process import Learner
from dotrain.space import Float, Searchspace
from dotrain.store import read_journal, replay
from tests.conftest import Project

TRAIN = """
    def train(x, budget=1):
        return {"score": x, "memory_mb": 100 * x, "recall": 1 - x / 10}
"""
SPACE: dict[str, Any] = {"x": {"type": "discrete", "values": [1, 2, 3, 4]}}


def search(project: Project, function: str = TRAIN, **given: Any) -> Result:
    whole = {"space": SPACE, "optimizer": {"name": "grid"}, **given}
    return project.run(function, search=whole, cluster={"kind": "inline"})


def test_the_best_is_the_best_of_those_that_keep_all_constraints(project: Project) -> None:
    result = search(project, constraints={"memory_mb": {"max": 350}, "recall": {"min": 0.75}})
    assert result["best"]["params"] == {"x": 2}
    notes = [trial.notes.get(Mark.INFEASIBLE) for trial in result.trials]
    assert notes == [
        None,
        None,
        "recall 0.7 is under 0.75",
        "memory_mb 400 is over 350; recall 0.6 is under 0.75",
    ]


def test_a_bound_is_kept_by_what_is_equal_to_it(project: Project) -> None:
    result = search(project, constraints={"memory_mb": {"max": 300}})
    assert result["best"]["params"] == {"x": 3}


def test_whoever_reads_the_journal_says_the_same(project: Project) -> None:
    result = search(project, constraints={"memory_mb": {"max": 150}})
    state = replay(read_journal(result.run_dir / "journal.jsonl"))
    again = [trial.notes.get(Mark.INFEASIBLE) for trial in state.book.trials.values()]
    assert again == [trial.notes.get(Mark.INFEASIBLE) for trial in result.trials]
    shown = project.cli("show", str(result.run_dir), "--json")
    assert '"infeasible' in shown.stdout


def test_where_none_keeps_them_there_is_no_result_and_that_is_why(project: Project) -> None:
    result = search(project, constraints={"memory_mb": {"max": 1}})
    assert result["best"] is None
    assert not result.is_usable
    assert "no result that keeps search.constraints, from 4 trials" in result.found.headline


def test_a_result_without_what_is_constrained_fails_and_names_what_there_is(
    project: Project,
) -> None:
    result = search(project, constraints={"latency_ms": {"max": 1}})
    message = (
        "no latency_ms (search.constraints) was returned or reported; there is memory_mb, recall"
    )
    assert [trial.error.message for trial in result.trials if trial.error] == [message] * 4


def test_no_rung_promotes_what_is_infeasible(project: Project) -> None:
    result = search(
        project,
        optimizer={"name": "asha", "resource_max": 3},
        num_trials=4,
        constraints={"memory_mb": {"max": 350}},
    )
    promoted = [trial.params["x"] for trial in result.trials if trial.promotions]
    assert promoted == [3]


def test_what_was_stopped_before_it_could_tell_does_not_win() -> None:
    trial = Trial({"x": 1}, state=TrialState.STOPPED, final_metric=1.0)
    Constraints({"memory_mb": (None, 5.0)}).judge(trial)
    assert trial.notes[Mark.INFEASIBLE] == "memory_mb wasn't known when it was stopped"
    trial.metrics = {"memory_mb": 4.0}
    Constraints({"memory_mb": (None, 5.0)}).judge(trial)
    assert Mark.INFEASIBLE not in trial.notes


@pytest.mark.parametrize("name", ["tpe", "cmaes", "gp"])
def test_a_model_learns_to_keep_them(name: str) -> None:
    """The score grows to the right, and what is right of 0.4 is infeasible."""
    learner = Learner(make_sampler(name), Searchspace(x=Float(range=(0.0, 1.0))), seed=0)
    points = [{"x": number * 7 % 50 / 50} for number in range(50)]
    ended = [
        Outcome(n, TrialState.FINISHED, None, one["x"], 1, (one["x"] - 0.4,))
        for n, one in enumerate(points)
    ]
    learner.learn(points, ended)
    found = [learner.answer([], [], Question(n, 50, 50))["x"] for n in range(20)]
    assert sum(found) / 20 < 0.5
    assert max(found) > 0.25


@pytest.mark.parametrize("name", ["tpe", "cmaes", "gp"])
def test_where_none_keeps_them_a_model_goes_to_where_they_are_nearest(name: str) -> None:
    learner = Learner(make_sampler(name), Searchspace(x=Float(range=(0.0, 1.0))), seed=0)
    points = [{"x": 0.3 + number * 7 % 50 / 80} for number in range(50)]
    ended = [
        Outcome(n, TrialState.FINISHED, None, one["x"], 1, (one["x"] - 0.2,))
        for n, one in enumerate(points)
    ]
    learner.learn(points, ended)
    found = [learner.answer([], [], Question(n, 50, 50))["x"] for n in range(20)]
    assert sum(found) / 20 < 0.4


@pytest.mark.parametrize(
    ("constraints", "told"),
    [
        ({"score": {"max": 1}}, "search.constraints.score: score is the metric itself"),
        ({"a": {}}, "search.constraints.a: expected min, max or both"),
        ({"a": {"min": 2, "max": 1}}, "search.constraints.a: min 2 is over max 1"),
        ({"a": {"most": 1}}, "search.constraints.a.most: unknown key"),
    ],
)
def test_what_can_not_be_is_refused_where_it_stands(
    project: Project, constraints: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError) as error:
        search(project, constraints=constraints)
    assert told in str(error.value)


def test_a_simulation_has_no_other_numbers(project: Project) -> None:
    project.write("user.py", TRAIN)
    with pytest.raises(ConfigError, match=r"search\.constraints: a simulated trial has no other"):
        project.run(
            search={"space": SPACE, "num_trials": 2, "constraints": {"a": {"max": 1}}},
            cluster={"kind": "simulated"},
        )
