"""`dotrain stop`: a run or a trial is ended from outside, and the journal says by whom and why."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from dotrain import experiment
from dotrain.errors import DotrainError, ResourcesUnavailable, UsageError
from dotrain.runs.stopping import stop
from dotrain.store import Holder, Requests, RunDir, StopRequest, read_journal
from tests.conftest import Project

#: Asks for its own end from a process of its own, and waits for it, as any function does.
ASKS = """
import subprocess, sys

def train(trial_dir, reporter, x, checkpoint, budget=None):
    step, asked = checkpoint.step, (trial_dir / "asked").exists()
    reporter.broadcast(x, step)
    if not asked:
        (trial_dir / "asked").touch()
        run = str(trial_dir.parent.parent)
        command = [sys.executable, "-m", "dotrain", "stop", run, *{trial}, "--reason", "lunch", "--no-wait"]
        subprocess.run(command, check=True)
        while True:
            step += 1
            with checkpoint.save(step=step):
                pass
            reporter.broadcast(x, step)
    return x
"""


def asks(trial: str) -> str:
    return ASKS.replace("{trial}", f"[{trial}]")


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_trial_ends_well_and_the_next_one_is_tried(project: Project, kind: str) -> None:
    search = {
        "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
        "optimizer": {"name": "random"},
        "num_trials": 2,
    }
    cluster = {"kind": kind, **({"workers": 1} if kind == "local" else {})}
    result = project.run(asks("trial_dir.name"), search=search, cluster=cluster)
    assert (result.exit_code, result.summary["trials"]["stopped"]) == (0, 2)
    records = list(read_journal(result.run_dir / "journal.jsonl"))
    asked = [r for r in records if r["type"] == "StopAsked"]
    assert [(r["trial_id"], r["why"]) for r in asked] == [("t0000", "lunch"), ("t0001", "lunch")]
    stops = [r["reason"] for r in records if r["type"] == "Stop"]
    assert all(f"asked for by {asked[0]['who']}: lunch" in reason for reason in stops)
    assert not list(Requests(RunDir(result.run_dir)).pending())


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_run_ends_as_by_ctrl_c_and_goes_on(project: Project, kind: str) -> None:
    cluster = {"kind": kind, **({"workers": 1} if kind == "local" else {})}
    result = project.run(asks(""), cluster=cluster, hparams={"x": 0.5})
    assert (result.exit_code, result.summary["status"]) == (130, "interrupted")
    (ended,) = (r for r in read_journal(result.run_dir / "journal.jsonl") if r["type"] == "Finish")
    assert ended["reason"].startswith("stopped by ")
    assert ended["reason"].endswith(": lunch")
    again = experiment.resume(result.run_dir, quiet=True)
    assert (again.exit_code, again.summary["best"]["value"]) == (0, 0.5)


def test_what_is_over_is_told_and_what_is_not_there_refused(project: Project) -> None:
    run_dir = project.run("def train(x): return x", hparams={"x": 0.5}).run_dir
    done = project.cli("stop", str(run_dir), "t0000")
    assert (done.returncode, done.stdout) == (0, "t0000: finished, score 0.5\n")
    done = project.cli("stop", str(run_dir), "--json")
    told = {"run_dir": str(run_dir), "trial": None, "state": "finished", "over": True}
    assert (done.returncode, json.loads(done.stdout)) == (0, told)
    with pytest.raises(UsageError, match="no trial '9'"):
        stop(run_dir, "9", "", None, print)
    assert not RunDir(run_dir).requests.exists()


def running(project: Project) -> RunDir:
    """Return the directory of a run that looks as if this process drove it, with a trial that trains."""
    run_dir = RunDir(project.run("def train(x): return x", hparams={"x": 0.5}).run_dir)
    lines = run_dir.journal.read_bytes().splitlines(keepends=True)
    begun = next(i for i, line in enumerate(lines, 1) if b'"Started"' in line)
    run_dir.journal.write_bytes(b"".join(lines[:begun]))
    run_dir.lock.write_text(json.dumps(asdict(Holder.me())))
    return run_dir


def test_it_waits_for_the_driver_to_let_go_and_no_longer_than_it_is_told(project: Project) -> None:
    run_dir, said = running(project), list[str]()
    found = stop(run_dir.path, None, "", 60, said.append, lambda _: run_dir.lock.write_text(""))
    assert (found.is_over, found.state) == (
        True,
        "crashed",
    )  # the journal doesn't say that it ended
    assert len(said) == 1
    run_dir = running(project)
    for trial, what in ((None, f"driven by {Holder.me()}"), ("0", "still to end")):
        with pytest.raises(ResourcesUnavailable, match=what):
            stop(run_dir.path, trial, "", 0.0, said.append, lambda _: None)
    assert [request.trial_id for _, request in Requests(run_dir).pending()] in (
        [None, "t0000"],
        ["t0000", None],
    )
    assert "waiting for t0000 to end at its next report" in said[-1]


def test_files_that_are_no_requests_are_passed_over(project: Project, tmp_path: Path) -> None:
    run_dir = running(project)
    requests = Requests(run_dir)
    path = requests.add(StopRequest("ann@lab", "lunch", "t0000"))
    for name, text in {
        "a.json": "{",
        "b.json": "[]",
        "c.json": '{"why": "nobody"}',
        "d.json": '{"who": "x", "trial_id": [1]}',
        ".e.json.tmp": "{}",
    }.items():
        (run_dir.requests / name).write_text(text)
    assert list(requests.pending()) == [(path, StopRequest("ann@lab", "lunch", "t0000"))]
    requests.clear()
    assert list(requests.pending()) == []


def test_who_may_not_write_is_told_so(project: Project) -> None:
    run_dir = running(project)
    run_dir.requests.write_text("in the way")
    with pytest.raises(DotrainError, match="who may write to its directory"):
        stop(run_dir.path, None, "", None, print)
