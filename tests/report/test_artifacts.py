"""`artifacts`: the files of a run or a trial, listed and copied."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dotrain.cli import app
from dotrain.errors import DotrainError, UsageError
from dotrain.report.artifacts import artifact_lines, read_artifacts
from dotrain.report.copying import copy_artifacts
from dotrain.results.text import bytes_text
from tests.cli.test_completion import offered
from tests.conftest import Project

EVIL = "evil\x1b[31m.txt"
TRAIN = f"""
def train(x, checkpoint, reporter, trial_dir):
    with checkpoint.save(step=1) as folder:
        (folder / "weights").write_bytes(b"w" * 1500)
    reporter.broadcast(x, 0)
    (trial_dir / "train").mkdir()
    (trial_dir / "train" / "events.out.tfevents.1.host").write_text("1")
    (trial_dir / ".hidden").write_text("2")
    (trial_dir / "checkpoint.txt").write_text("3")
    (trial_dir / {EVIL!r}).write_text("4")
    print("hello")
    return x
"""


@pytest.fixture
def run_dir(project: Project) -> Path:
    """A search of two trials."""
    space = {"x": {"type": "discrete", "values": [1.0, 2.0]}}
    return project.run(
        TRAIN,
        search={"space": space, "optimizer": {"name": "grid"}},
        cluster={"kind": "inline"},
        checkpoints={"keep": "last"},
        tensorboard=False,
    ).run_dir


def files(root: Path) -> dict[str, bytes]:
    return {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}


OF_A_TRIAL = {
    ".hidden": "other",
    "checkpoint.txt": "other",
    "checkpoint/step-000000001/.random-state.json": "checkpoint",
    "checkpoint/step-000000001/weights": "checkpoint",
    EVIL: "other",
    "output.log": "log",
    "reports.jsonl": "reports",
    "train/events.out.tfevents.1.host": "tensorboard",
}


def test_the_files_of_a_trial_have_their_kinds_and_sizes(run_dir: Path) -> None:
    found = read_artifacts(run_dir, "1")
    assert {one.path: one.kind for one in found.files} == OF_A_TRIAL
    assert {one.trial for one in found.files} == {"t0001"}
    assert found.size == sum(Path(one.place).stat().st_size for one in found.files)
    lines = [" ".join(line.split()) for line in artifact_lines(found)]
    assert lines[0] == "kind size path"
    assert "checkpoint 1.5 kB checkpoint/step-000000001/weights" in lines
    assert "other 1 byte evil\\x1b[31m.txt" in lines
    assert lines[-1].startswith("8 files, ")


def test_those_of_a_run_are_of_all_its_trials_and_its_own(run_dir: Path) -> None:
    (run_dir / ".result.json.1234").write_text("half")
    (run_dir / "trials" / "t0000" / "checkpoint" / ".partial-1").mkdir()
    (run_dir / "trials" / "t0000" / "checkpoint" / ".partial-1" / "half").write_text("")
    found = read_artifacts(run_dir)
    own = {one.path: one.kind for one in found.files if one.trial is None}
    assert own.pop("logs/inline.log", "log") == "log"
    assert own == dict.fromkeys(
        ["code.zip", "config.yaml", "journal.jsonl", "result.json"], "other"
    )
    for trial_id in ("t0000", "t0001"):
        paths = {one.path: one.kind for one in found.files if one.trial == trial_id}
        assert paths == OF_A_TRIAL
    told = found.to_json()
    assert told["bytes"] == sum(one["bytes"] for one in told["files"])
    assert artifact_lines(found)[0].startswith("trial  kind")


def test_a_copy_is_the_same_and_a_second_one_copies_nothing(run_dir: Path, tmp_path: Path) -> None:
    to = tmp_path / "a" / "b"
    copied = copy_artifacts(read_artifacts(run_dir, "t0001"), to)
    assert files(to) == files(run_dir / "trials" / "t0001")
    assert (copied.files, copied.same, copied.gone) == (8, 0, [])
    assert copied.text == f"copied 8 files, {bytes_text(copied.size)}, to {to}"
    again = copy_artifacts(read_artifacts(run_dir, "t0001"), to)
    assert (again.files, again.same) == (0, 8)
    assert "(8 files there already)" in again.text
    whole = tmp_path / "whole"
    copy_artifacts(read_artifacts(run_dir), whole)
    expected = files(run_dir)
    expected.pop("lock", None)
    assert files(whole) == expected


@pytest.mark.parametrize("what", ["a file", "a folder", "a broken link"])
def test_what_is_in_the_way_is_never_replaced(run_dir: Path, tmp_path: Path, what: str) -> None:
    to = tmp_path / "to"
    to.mkdir()
    target = to / "output.log"
    if what == "a file":
        target.write_text("mine")
    elif what == "a folder":
        target.mkdir()
    else:
        target.symlink_to("nowhere")
    with pytest.raises(UsageError, match=r"output\.log is there already, with something else"):
        copy_artifacts(read_artifacts(run_dir, "0"), to)
    assert os.listdir(to) == ["output.log"]


def test_a_copy_that_breaks_off_leaves_whole_files_alone(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        if Path(source).name == "reports.jsonl":
            Path(target).write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(source, target)

    real: Any = shutil.copyfile
    found, to = read_artifacts(run_dir, "0"), tmp_path / "to"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(DotrainError, match="No space left on device; what was copied before"):
            copy_artifacts(found, to)
    whole = files(run_dir / "trials" / "t0000")
    assert files(to).items() <= whole.items()
    assert "reports.jsonl" not in files(to)
    copy_artifacts(found, to)
    assert files(to) == whole


def test_what_goes_away_meanwhile_is_said(run_dir: Path, tmp_path: Path) -> None:
    found = read_artifacts(run_dir, "0")
    shutil.rmtree(run_dir / "trials" / "t0000" / "checkpoint")
    copied = copy_artifacts(found, tmp_path / "to")
    gone = [f"checkpoint/step-000000001/{name}" for name in (".random-state.json", "weights")]
    assert copied.gone == gone
    assert copied.text.endswith(f"; gone meanwhile: {', '.join(gone)}")


def test_what_is_no_file_is_left_out_and_named(run_dir: Path, tmp_path: Path) -> None:
    folder = run_dir / "trials" / "t0000"
    (folder / "elsewhere").symlink_to(tmp_path, target_is_directory=True)
    (folder / "broken").symlink_to("nowhere")
    (folder / "linked").symlink_to("output.log")
    os.mkfifo(folder / "pipe")
    found = read_artifacts(run_dir, "0")
    assert sorted(found.left_out) == [
        "broken: No such file or directory",
        "elsewhere: a link to a folder",
        "pipe: no regular file",
    ]
    assert "left out: pipe: no regular file" in artifact_lines(found)
    copy_artifacts(found, tmp_path / "to")
    assert not (tmp_path / "to" / "linked").is_symlink()


def test_the_command_lists_and_copies(run_dir: Path, tmp_path: Path) -> None:
    def call(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["artifacts", str(run_dir), *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert call("t0001").splitlines()[-1].startswith("8 files, ")
    listed = json.loads(call("--json"))
    assert (listed["trial"], listed["run_dir"]) == (None, str(run_dir))
    assert "copied" not in listed
    copied = json.loads(call("1", "--to", str(tmp_path / "to"), "--json"))["copied"]
    assert (copied["files"], copied["to"]) == (8, str(tmp_path / "to"))
    assert call("1", "--to", str(tmp_path / "to")).startswith("copied 0 files, 0 bytes, to ")


def test_a_trial_that_is_not_there_is_refused(run_dir: Path) -> None:
    with pytest.raises(UsageError, match="there is no trial '7'; the run has t0000 to t0001"):
        read_artifacts(run_dir, "7")


def test_the_shell_offers_runs_and_trials(project: Project, run_dir: Path) -> None:
    called = f"dotrain artifacts {run_dir.relative_to(project.path)} "
    assert offered(project.path, called) == ["t0000", "t0001"]
