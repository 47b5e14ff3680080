"""`search.warm_start`: a model begins with what an earlier run, or a table, has found."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from dotrain.config.errors import ConfigError
from dotrain.core.sampling import Earlier
from dotrain.errors import UsageError
from dotrain.experiment import run as run_config
from dotrain.runs.result import Result
from dotrain.runs.warm_start import earlier_of
from dotrain.store import read_journal
from tests.conftest import Project

TRAIN = """
    def train(x, units=8, budget=3, reporter=None):
        return -(x - 0.75) ** 2 * units / 8
"""
SPACE: dict[str, Any] = {"x": {"type": "float", "range": [0.0, 1.0]}}
BOTH = {**SPACE, "units": {"type": "int", "range": [8, 16]}}


def begin(project: Project, name: str, **search: Any) -> Result:
    """Run a search of a name."""
    project.write("user.py", TRAIN)
    sections = {key: search.pop(key) for key in ("hparams", "metric") if key in search}
    whole = {"space": SPACE, "num_trials": 6, "optimizer": {"name": "tpe"}, **search}
    config = project.config(name=name, search=whole, cluster={"kind": "inline"}, **sections)
    return run_config(config, runs_dir=project.path / "runs", quiet=True)


def learned(result: Result) -> list[Earlier]:
    return earlier_of(next(iter(read_journal(result.run_dir / "journal.jsonl"))))


def records(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    return [one for one in read_journal(run_dir / "journal.jsonl") if one["type"] == kind]


def test_a_model_is_asked_from_the_first_trial_on_with_what_another_run_has_found(
    project: Project,
) -> None:
    first = begin(project, "first", num_trials=20)
    second = begin(project, "second", warm_start={"from": "first"})
    assert len(learned(second)) == 20
    assert len(records(second.run_dir, "Ask")) == 6
    assert records(second.run_dir, "Ask")[0]["trials"] == 20
    assert {one.params["x"] for one in learned(second)} == {t.params["x"] for t in first.trials}
    far = [abs(trial.params["x"] - 0.75) for trial in second.trials]
    assert sum(far) / 6 < 0.2  # at random 0.31


def test_it_goes_on_without_the_run_that_it_has_learned_from(project: Project) -> None:
    first = begin(project, "first", num_trials=12)
    second = begin(project, "second", warm_start={"from": "first"})
    shutil.rmtree(first.run_dir)
    done = project.cli("resume", str(second.run_dir), "-q", "-s", "search.num_trials=8")
    assert done.returncode == 0, done.stderr
    assert records(second.run_dir, "Ask")[-1]["trials"] == 12 + 7


def test_of_many_as_many_as_are_wanted_are_taken_from_the_best_to_the_worst(
    project: Project,
) -> None:
    first = begin(project, "first", num_trials=21)
    second = begin(project, "second", warm_start={"from": "first", "trials": 5})
    ranked = sorted((trial.final_metric or 0.0 for trial in first.trials), reverse=True)
    assert [one.value for one in learned(second)] == ranked[::5]


def test_what_was_fixed_before_counts_where_it_is_searched_now(project: Project) -> None:
    begin(project, "first", hparams={"units": 12})
    second = begin(project, "second", space=BOTH, warm_start={"from": "first"})
    assert {one.params["units"] for one in learned(second)} == {12}


def test_rungs_learn_by_budget(project: Project) -> None:
    asha = {"name": "asha", "resource_max": 9, "sampler": "tpe"}
    begin(project, "first", num_trials=32, optimizer=asha)
    second = begin(project, "second", optimizer=asha, warm_start={"from": "first"})
    assert {one.budget for one in learned(second)} == {1, 3, 9}
    assert records(second.run_dir, "Ask")[0]["level"] == 3
    third = begin(project, "third", warm_start={"from": "first"})
    assert len(learned(third)) == 32  # of each its last


def test_a_table_will_do_that_show_has_written(project: Project) -> None:
    first = begin(project, "first", space=BOTH, num_trials=12)
    shown = project.cli("show", str(first.run_dir), "--csv")
    project.write("earlier.csv", shown.stdout)
    second = begin(project, "second", space=BOTH, warm_start={"from": "earlier.csv"})
    assert len(learned(second)) == 12
    assert all(isinstance(one.params["units"], int) for one in learned(second))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("x,loss\n0.5,1\n", "no column score; it has x, loss"),
        ("score,x\nmany,0.5\n", "earlier.csv:2: score: expected a finite number, got 'many'"),
        ("score,x\n1,0.5\nnan,0.5\n", "earlier.csv:3: score: expected a finite number, got 'nan'"),
        ("score,x\n1,7\n", "none of its 1 results lies in search.space"),
        ("score,x\n", "it has no results for search.space"),
    ],
)
def test_a_table_that_teaches_nothing_is_refused(project: Project, table: str, told: str) -> None:
    project.write("earlier.csv", table)
    with pytest.raises(UsageError, match=r"search\.warm_start") as error:
        begin(project, "second", warm_start={"from": "earlier.csv"})
    assert told in str(error.value)
    assert not (project.path / "runs").exists()


def test_a_run_of_another_metric_is_refused(project: Project) -> None:
    begin(project, "first", metric="accuracy")
    with pytest.raises(UsageError, match="has the metric accuracy, this config score"):
        begin(project, "second", warm_start={"from": "first"})


@pytest.mark.parametrize("name", ["random", "qmc"])
def test_an_optimizer_that_learns_nothing_is_refused_where_it_stands(
    project: Project, name: str
) -> None:
    with pytest.raises(ConfigError, match=rf"search\.warm_start: '{name}' learns nothing"):
        begin(project, "second", optimizer={"name": name}, warm_start={"from": "first"})


def test_a_run_that_is_not_there_is_told_by_its_name(project: Project) -> None:
    with pytest.raises(UsageError, match="frist"):
        begin(project, "second", warm_start={"from": "frist"})


def test_what_has_begun_from_another_trials_checkpoint_teaches_nothing(project: Project) -> None:
    project.write(
        "pbt.py",
        """
        def train(x, checkpoint, budget):
            loaded = checkpoint.latest
            for step in range(checkpoint.step, budget):
                with checkpoint.save(step + 1):
                    pass
            return x
        """,
    )
    optimizer = {"name": "pbt", "population": 4, "interval": 1, "resource_max": 4, "quantile": 0.5}
    search = {"space": SPACE, "optimizer": optimizer}
    config = project.config(
        train="pbt.py:train", name="first", search=search, cluster={"kind": "inline"}
    )
    first = run_config(config, runs_dir=project.path / "runs", quiet=True)
    assert len(first.trials) > 4
    second = begin(project, "second", warm_start={"from": "first"})
    assert {one.params["x"] for one in learned(second)} == {t.params["x"] for t in first.trials[:4]}


def test_what_began_from_another_trial_s_checkpoint_is_no_result_in_a_table_either(
    project: Project,
) -> None:
    table = "trial,score,x,marks\nt0000,1.0,0.5,continued\nt0001,9.0,0.1,inherited\n"
    project.write("earlier.csv", table)
    second = begin(project, "second", warm_start={"from": "earlier.csv"})
    assert [one.value for one in learned(second)] == [1.0]
