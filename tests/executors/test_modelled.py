"""A simulation of the user's own: the curve and the durations that options name."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dotrain.core.failure import FailureKind
from dotrain.core.trial import TrialState
from dotrain.store import read_journal
from tests.conftest import Project
from tests.folder import Folder

MODELLED = """
def train(x, budget=None):
    raise SystemError("simulated runs train nothing")

def curve(params, step):
    return params["x"] * (step + 1)

def duration(params):
    return 10 * params["x"]

def noisy(step, seed):
    return float(seed + step)

def diverging(step):
    return float("inf") if step == 2 else 1.0

def raising(step):
    if step == 2:
        raise ValueError("no such step")
    return 1.0

def text(step):
    return "abc"

def negative(params):
    return -1.0

def other(params, stp):
    return 1.0

def nothing(params):
    print(params)
"""
SEARCH = {
    "space": {"x": {"type": "discrete", "values": [1, 2, 3]}},
    "optimizer": {"name": "grid"},
}


def cluster(**options: object) -> dict[str, object]:
    named = {key: f"user.py:{one}" for key, one in options.items() if isinstance(one, str)}
    return {"kind": "simulated", "workers": 3, "options": {"steps": 4, **options, **named}}


def test_values_and_times_are_those_of_the_users_functions(project: Project) -> None:
    options = cluster(curve="curve", duration="duration", launch_s=0)
    result = project.run(MODELLED, search=SEARCH, cluster=options)
    assert result.summary["simulated"]
    by_x = {trial.params["x"]: trial for trial in result.trials}
    for x, trial in by_x.items():
        assert list(trial.metric_history) == [x, 2 * x, 3 * x, 4 * x]
        assert trial.final_metric == 4 * x
        assert trial.busy_s == pytest.approx(4 * 10 * x)
    reports = [
        (record["t"], record["trial_id"], record["step"])
        for record in read_journal(result.run_dir / "journal.jsonl")
        if record["type"] == "Reported"
    ]
    times = [t for t, trial, _ in reports if trial == by_x[2].trial_id]
    assert times == pytest.approx([20, 40, 60, 80])


def test_a_rung_goes_on_where_the_last_one_was(project: Project) -> None:
    optimizer = {"name": "asha", "resource_max": 9}
    search = {**SEARCH, "optimizer": optimizer, "num_trials": 3}
    options = cluster(curve="curve", duration="duration", launch_s=0)
    result = project.run(MODELLED, search=search, cluster={**options, "workers": 1})
    promoted = max(result.trials, key=lambda trial: len(trial.metric_history))
    assert len(promoted.metric_history) == 3
    assert promoted.busy_s == pytest.approx(3 * 10 * promoted.params["x"])


def test_a_function_is_given_what_it_asks_for(project: Project) -> None:
    result = project.run(MODELLED, search=SEARCH, cluster=cluster(curve="noisy"))
    values = [trial.metric_history[0] for trial in result.trials]
    assert len(set(values)) == len(values)  # the seeds of the trials


def test_equal_runs_give_equal_journals(project: Project) -> None:
    def lines() -> list[bytes]:
        options = cluster(curve="noisy", duration="duration")
        result = project.run(MODELLED, search=SEARCH, cluster=options)
        return (result.run_dir / "journal.jsonl").read_bytes().splitlines()[1:]

    assert lines() == lines()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"curve": "raising"}, FailureKind.EXCEPTION, "ValueError: no such step"),
        ({"duration": "raising"}, FailureKind.EXCEPTION, "ValueError: no such step"),
        ({"curve": "text"}, FailureKind.BAD_RESULT, "curve returned 'abc', expected a number"),
        (
            {"duration": "negative"},
            FailureKind.BAD_RESULT,
            "duration returned -1.0, expected seconds, 0 or more",
        ),
    ],
)
def test_a_function_that_gives_no_number_fails_the_trial_as_a_train_function_would(
    project: Project, options: dict[str, str], kind: FailureKind, message: str
) -> None:
    result = project.run(MODELLED, search=SEARCH, cluster=cluster(**options))
    assert {trial.state for trial in result.trials} == {TrialState.FAILED}
    for trial in result.trials:
        assert trial.error is not None
        assert (trial.error.kind, trial.error.message) == (kind, message)
        assert "user.py:" in trial.error.location


def test_a_module_that_can_not_be_imported_fails_the_trial(project: Project) -> None:
    project.write("broken.py", "import no_such_thing\n\ndef curve(step):\n    return 1.0\n")
    options = {"kind": "simulated", "options": {"curve": "broken.py:curve"}}
    result = project.run(MODELLED, search=SEARCH, cluster=options)
    failures = {trial.error.message for trial in result.trials if trial.error}
    assert failures == {"ModuleNotFoundError: No module named 'no_such_thing'"}


def test_a_value_that_is_no_finite_number_diverges(project: Project) -> None:
    result = project.run(MODELLED, search=SEARCH, cluster=cluster(curve="diverging"))
    assert {trial.state for trial in result.trials} == {TrialState.DIVERGED}
    assert all(math.isfinite(v) for trial in result.trials for v in trial.metric_history)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("curve: 'user.py:curv'", "user.py has no function 'curv'; did you mean 'curve'?"),
        ("curve: curve", "expected path.py:function or module:function, got 'curve'"),
        ("curve: 'nowhere.py:curve'", "no file nowhere.py; tried"),
        (
            "curve: 'user.py:other'",
            "other() asks for 'stp', which nobody provides; curve is given params, step and seed; "
            "did you mean 'step'?",
        ),
        ("duration: 'user.py:nothing'", "nothing() returns nothing; expected a number"),
        ("duration: 3", "expected text, got 3"),
    ],
)
def test_a_function_that_can_not_be_is_told_with_its_place(
    tmp_path: Path, option: str, message: str
) -> None:
    folder = Folder(tmp_path)
    folder.write("user.py", MODELLED)
    (found,) = folder.problems(
        "train: user.py:train\nmetric: score\nhparams: {x: 1}\n"
        f"cluster: {{kind: simulated, options: {{{option}}}}}\n"
    )
    assert found.startswith("4:")
    assert f"cluster.options.{option.split(':')[0]}: " in found
    assert message in found


def test_the_functions_go_with_the_run(project: Project) -> None:
    """Whoever runs it again from its directory has the curve that it had."""
    project.write("model.py", "def curve(step):\n    return 1.0\n")
    options = {"kind": "simulated", "options": {"curve": "model.py:curve"}}
    first = project.run(MODELLED, search=SEARCH, cluster=options)
    project.write("model.py", "def curve(step):\n    return 2.0\n")
    again = project.cli("run", str(first.run_dir / "config.yaml"), "--json")
    assert '"value": 1.0' in again.stdout, again.stderr
