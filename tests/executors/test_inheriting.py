"""Trials that begin from another's checkpoint: wherever they run, it is there, and is what was trained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from dotrain import experiment
from dotrain.config import load_config
from dotrain.core.marks import Mark
from dotrain.core.observer import Observer
from dotrain.core.trial import Trial
from dotrain.report.page.writing import write_page
from dotrain.report.reading import read_run
from dotrain.report.result import result_lines
from dotrain.report.story import read_trial
from dotrain.report.trial_text import trial_lines
from dotrain.results.lineage import lineage_of
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.store import RunDir, read_journal
from dotrain.store.kept import Kept
from dotrain.store.manifest import keys_of
from tests.conftest import Project
from tests.executors.test_stored import moto, place, s3

__all__ = ["moto", "place", "s3"]  # fixtures

#: Each step adds its own x to what the checkpoint holds: in the end it tells who has trained what.
TRAIN = """
    import json

    def train(x, checkpoint, reporter, budget):
        done = []
        if checkpoint.latest:
            done = json.loads((checkpoint.latest / "sub" / "done").read_text())
        for step in range(checkpoint.step, budget):
            done.append(x)
            with checkpoint.save(step=step + 1) as directory:
                (directory / "empty").mkdir()
                (directory / "sub").mkdir()
                (directory / "sub" / "done").write_text(json.dumps(done))
            reporter.broadcast(sum(done), step)
        print("did", json.dumps(done), flush=True)
        return sum(done)
"""
SEARCH: dict[str, Any] = {
    "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
    "optimizer": {
        "name": "pbt",
        "population": 6,
        "interval": 2,
        "resource_max": 8,
        "quantile": 0.5,
    },
}
STORES = [
    "memory inline",
    "file local",
    pytest.param("s3 local", marks=pytest.mark.slow),
    pytest.param("file address", marks=pytest.mark.slow),
]


def trained(result: Result, trial: Trial) -> list[float]:
    """Return what the steps that led to a trial were trained with, as its log has it."""
    log = (result.run_dir / "trials" / trial.trial_id / "output.log").read_text()
    told: list[float] = json.loads(log.rpartition("did ")[2].splitlines()[0])
    return told


def check(result: Result) -> None:
    """Each trial has gone on from exactly what its lineage says."""
    assert result.status == "finished"
    trials = {trial.trial_id: trial for trial in result.trials}
    inherited = [trial for trial in result.trials if trial.begins_from]
    assert inherited, "nobody was replaced"
    for trial in inherited:
        line = lineage_of(trial, trials)
        spans = [[one.params["x"]] * (one.to_step - one.from_step) for one in line]
        assert trained(result, trial) == list(chain(*spans))
        assert trial.step_history == list(range(trial.begins_at, trial.step_history[-1] + 1))
        assert Mark.INHERITED in trial.notes
        assert line[-1].to_step == trial.results[-1].budget


def test_who_begins_from_another_has_what_that_one_has_trained(
    project: Project, cluster: dict[str, Any]
) -> None:
    result = project.run(TRAIN, search=SEARCH, cluster=cluster)
    check(result)


def test_without_a_shared_disk_too(
    project: Project, dask_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    project.write("user.py", TRAIN)
    config = project.config(cluster={"kind": "address", "address": dask_address}, search=SEARCH)
    # A folder that workers don't see.
    result = run(Experiment.of(load_config(config)), Path("/proc/self/cwd/runs"), Observer())
    assert any("through dotrain" in r["why"] for r in journal(result) if r.get("why"))
    check(result)


@pytest.mark.parametrize("place", STORES, indirect=True)
def test_in_a_storage_too(project: Project, place: tuple[str, dict[str, Any]]) -> None:
    url, cluster = place
    result = project.run(
        TRAIN, search=SEARCH, cluster=cluster, storage=url, checkpoints={"keep": "last"}
    )
    check(result)
    kept = Kept(RunDir(result.run_dir))
    named = [keys_of(manifest) for manifest in kept.manifests().values()]
    assert sum(map(len, named)) == len(set().union(*named)), "two trials have an object in common"
    assert set(kept.storage().list_keys()) == set().union(*named)


def journal(result: Result) -> list[dict[str, Any]]:
    return read_journal(result.run_dir / "journal.jsonl")


def test_checkpoints_that_may_be_borrowed_are_not_freed(project: Project) -> None:
    for cluster in ({"kind": "inline"}, {"kind": "local", "workers": 3}):
        result = project.run(TRAIN, search=SEARCH, cluster=cluster, checkpoints={"keep": "best"})
        check(result)
        left = [
            t for t in result.trials if Kept(RunDir(result.run_dir)).newest_checkpoint(t.trial_id)
        ]
        assert [t.trial_id for t in left] == [result.summary["best"]["trial_id"]]


def test_what_was_freed_is_lent_to_nobody_when_a_run_goes_on(project: Project) -> None:
    early = {**SEARCH, "stop": {"no_better_for": 2}}
    result = project.run(TRAIN, search=early, cluster={"kind": "inline"})
    assert result.summary["checkpoints"]["freed"] > 0
    resumed = experiment.resume(
        result.run_dir, overrides=["search.stop={target: 1000.0}"], quiet=True
    )
    check(resumed)
    assert resumed.summary["trials"]["failed"] == 0


def test_people_are_told_of_the_lineage(project: Project) -> None:
    result = project.run(TRAIN, search=SEARCH, cluster={"kind": "inline"})
    inherited = next(t for t in reversed(result.trials) if t.begins_from)
    found = read_trial(result.run_dir, inherited.trial_id)
    segments = found["lineage"]
    assert [one["trial_id"] for one in segments][-1] == inherited.trial_id
    assert segments[0]["from_step"] == 0
    lines = trial_lines(found)
    told = " <- ".join(one["trial_id"] for one in reversed(segments))
    assert f"lineage: {told}" in lines
    was, now = segments[-1]["changes"]["x"]
    assert any(f"x {was:.4g} -> {now:.4g}" in line for line in lines)
    assert any(f"from {inherited.begins_from}'s checkpoint of" in line for line in lines)
    assert found["attempts"][0]["from_trial"] == inherited.begins_from
    best = result.summary["best"]
    assert read_trial(result.run_dir, best["trial_id"])["lineage"] == best.get("lineage", [])
    of_best = any(
        line.startswith("lineage: ") for line in result_lines(read_run(result.run_dir).result)
    )  # type: ignore[arg-type]
    assert of_best == ("lineage" in best)
    page = write_page(result.run_dir, project.path / "page.html").read_text()
    assert ('id="lineage"' in page) == of_best


def test_who_is_infeasible_is_replaced_by_who_is_not(project: Project) -> None:
    bounded = {**SEARCH, "constraints": {"memory": {"max": 0.6}}}
    source = TRAIN.replace("return sum(done)", 'return {"score": sum(done), "memory": x}')
    result = project.run(source, search=bounded, cluster={"kind": "inline"})
    check(result)
    trials = {trial.trial_id: trial for trial in result.trials}
    infeasible = {i for i, trial in trials.items() if Mark.INFEASIBLE in trial.notes}
    assert infeasible
    lenders = {trial.begins_from for trial in result.trials if trial.begins_from}
    assert lenders.isdisjoint(infeasible)
    gone = {i for i in infeasible if trials[i].results[-1].budget != 8}
    reasons = [trial.story[0].what for trial in result.trials]
    assert all(any(f"{i}, which was infeasible" in reason for reason in reasons) for i in gone)


def test_a_function_that_does_not_ask_for_checkpoints_is_refused(project: Project) -> None:
    project.write("user.py", "def train(x, budget, reporter): ...")
    done = project.cli("check", str(project.config(search=SEARCH)))
    assert done.returncode == 2
    assert "user.py:1: train() doesn't ask for 'checkpoint'" in done.stderr


def test_a_function_that_saves_nothing_ends_the_run_with_that(project: Project) -> None:
    result = project.run(
        """
        def train(x, checkpoint, budget):
            return x
        """,
        search=SEARCH,
        cluster={"kind": "inline"},
    )
    assert result.status == "failed"
    (group,) = result.summary["failures"]
    assert "it has saved no checkpoint" in group["message"]


def test_steps_that_are_not_those_of_the_budget_are_told(project: Project) -> None:
    result = project.run(
        """
        def train(x, checkpoint, budget):
            with checkpoint.save(step=100 * budget):
                pass
            return x
        """,
        search=SEARCH,
        cluster={"kind": "inline"},
    )
    (group,) = result.summary["failures"]
    assert "its checkpoint is of more steps than its budget" in group["message"]


def test_a_function_that_does_not_look_at_its_checkpoint_fails(project: Project) -> None:
    result = project.run(
        """
        def train(x, checkpoint, budget):
            with checkpoint.save(step=budget):
                pass
            return x
        """,
        search=SEARCH,
        cluster={"kind": "local", "workers": 2},
        limits={"max_failures": 3},
    )
    assert result.status == "failed"
    (group,) = result.summary["failures"]
    assert "and never looked at it" in group["message"]


DIES = """
    import os, signal, sys
    from dotrain.runs import inheriting

    copy = inheriting.inherit
    moment = sys.argv.pop(1)

    def dies(*arguments):
        if moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        copy(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    inheriting.inherit = dies
    from dotrain.cli import main
    main()
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_driver_that_is_killed_around_a_copy_makes_it_when_it_goes_on(
    project: Project, moment: str, kind: str
) -> None:
    project.write("user.py", TRAIN)
    config = project.config(search=SEARCH, cluster={"kind": kind})
    dies = project.write("dies.py", DIES)
    command = [sys.executable, str(dies), moment, "run", str(config)]
    done = subprocess.run(command, cwd=project.path, capture_output=True, check=False, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (run_dir,) = (project.path / "runs" / "config").iterdir()
    whole = project.run(search=SEARCH, cluster={"kind": "inline"})
    result = experiment.resume(run_dir)
    check(result)
    if kind == "inline":
        values = [[t.final_metric for t in one.trials] for one in (result, whole)]
        assert values[0] == values[1], "it tries, and trains, what it would have"


def test_what_is_half_copied_is_none(project: Project) -> None:
    project.write("user.py", TRAIN)
    result = project.run(search=SEARCH, cluster={"kind": "inline"}, checkpoints={"keep": "last"})
    for folder in (result.run_dir / "trials").glob("*/checkpoint"):
        assert not [name for name in os.listdir(folder) if name.startswith(".partial")]
