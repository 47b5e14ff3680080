"""Faults of the world around a run, and what `status` and `show` say of it."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dotrain.errors import DotrainError
from dotrain.store import RunDir, read_journal, replay
from tests.conftest import Project

SEARCH = {"space": {"x": {"type": "float", "range": [0.0, 1.0]}}, "num_trials": 6}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small tmpfs can't be mounted here: it takes root, and a kernel that lets it")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_full_disk_ends_the_run_with_the_reason_and_it_goes_on_later(
    project: Project, small_disk: Path, kind: str
) -> None:
    project.write(
        "user.py",
        """
        def train(x, reporter):
            for step in range(400):
                reporter.broadcast(x, step)
            return x
        """,
    )
    project.config(search={**SEARCH, "num_trials": 12}, cluster={"kind": kind})
    done = project.cli("run", "config.yaml", "--runs-dir", str(small_disk))
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    (run_dir,) = small_disk.glob("*/*")
    assert f"dotrain resume {run_dir}" in done.stderr
    state = replay(read_journal(run_dir / "journal.jsonl"))
    assert state.book.trials
    subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
    again = project.cli("resume", str(run_dir), "--json")
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    # A full disk is nobody's failure: the trials it hit have been run again.
    assert result["trials"] == {
        "total": 12,
        "finished": 12,
        "stopped": 0,
        "diverged": 0,
        "failed": 0,
    }


@pytest.mark.parametrize("tensorboard", [True, False])
def test_a_run_directory_that_is_deleted_is_said_so(project: Project, tensorboard: bool) -> None:
    project.write(
        "user.py",
        """
        import shutil

        def train(x, trial_dir):
            shutil.rmtree(trial_dir.parent.parent)
            return x
        """,
    )
    project.config(
        search={**SEARCH, "num_trials": 1}, cluster={"kind": "inline"}, tensorboard=tensorboard
    )
    done = project.cli("run", "config.yaml")
    assert done.returncode == 1
    assert "No such file or directory" in done.stderr
    assert "go on with: " not in done.stdout + done.stderr
    if not tensorboard:  # which makes its folder again
        assert "No such file or directory; there is nothing to go on with" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_could_not_begin_names_nothing_to_go_on_with(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: RunDir, data: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunDir, "write_config", full)
    with pytest.raises(DotrainError, match="No space left on device; there is nothing to go on"):
        project.run("def train(x): return x", search=SEARCH, cluster={"kind": "inline"})


def test_a_clock_that_jumps_changes_nothing(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    jumps = iter(range(10_000))
    monkeypatch.setattr(time, "time", lambda: -1e9 * next(jumps))
    result = project.run(
        "def train(x): return x",
        search=SEARCH,
        cluster={"kind": "inline"},
        limits={"max_time_s": 1000.0, "trial_timeout_s": 1000.0},
    )
    assert result.status == "finished"
    times = [record["t"] for record in read_journal(result.run_dir / "journal.jsonl")]
    assert times == sorted(times)


def finished_run(project: Project) -> Path:
    result = project.run(
        """
        def train(x, kind):
            if kind == "bad":
                raise ValueError("this kind is bad")
            return {"score": x, "other": 1}
        """,
        search={
            "space": {
                "x": {"type": "discrete", "values": [0.25, 0.5, 1.0]},
                "kind": {"type": "categorical", "values": ["good", "bad"]},
            },
            "optimizer": {"name": "grid"},
        },
        cluster={"kind": "inline"},
        name="demo",
    )
    return result.run_dir


def test_status_tells_of_a_finished_run_without_touching_it(project: Project) -> None:
    run_dir = finished_run(project)
    before = {p: p.stat().st_mtime_ns for p in run_dir.rglob("*")}
    text = project.cli("status", str(run_dir)).stdout
    for part in (
        "demo: finished (every trial has ended)",
        "trials: 6 total, 3 finished, 0 stopped, 0 diverged, 3 failed",
        "best: score 1 (t0004)",
        "failed: 3 x ValueError: this kind is bad",
    ):
        assert part in text
    assert "go on with" not in text
    assert {p: p.stat().st_mtime_ns for p in run_dir.rglob("*")} == before


def test_status_tells_what_waits_and_why_and_how_to_go_on(project: Project) -> None:
    result = project.run(
        """
        def train(x, reporter):
            for step in range(3):
                reporter.broadcast(x, step)
            return x
        """,
        search=SEARCH,
        cluster={"kind": "simulated", "workers": 2},
        limits={"max_time_s": 25.0},
    )
    status = json.loads(project.cli("status", str(result.run_dir), "--json").stdout)
    assert status["status"] == "time_limit"
    assert [w["trial_id"] for w in status["waiting"]]
    assert all("25 s have passed (limits.max_time_s)" in w["why"] for w in status["waiting"])
    assert status["resume"].startswith("dotrain resume ")


def test_status_reads_a_journal_that_is_cut_in_the_middle(project: Project) -> None:
    run_dir = finished_run(project)
    journal = run_dir / "journal.jsonl"
    whole = journal.read_bytes()
    # In the middle of the record after the second start.
    journal.write_bytes(whole[: whole.index(b"Finished", whole.index(b"Started") + 500)])
    done = project.cli("status", str(run_dir))
    assert done.returncode == 0
    assert "demo: crashed" in done.stdout
    assert "was running: t000" in done.stdout
    assert "go on with: dotrain resume" in done.stdout


def test_show_gives_a_row_for_each_trial_as_table_csv_and_json(project: Project) -> None:
    run_dir = finished_run(project)
    rows = json.loads(project.cli("show", str(run_dir), "--json").stdout)
    assert [row["trial"] for row in rows] == [f"t{n:04d}" for n in range(6)]
    assert list(rows[0]) == [
        *("trial", "state", "score", "steps", "budget", "attempts", "seconds", "x", "kind"),
        *("other", "marks", "error"),
    ]
    text = project.cli("show", str(run_dir), "--csv", "--sort", "score", "--top", "2").stdout
    parsed = list(csv.DictReader(io.StringIO(text)))
    assert [row["score"] for row in parsed] == ["1.0", "0.5"]
    table = project.cli("show", str(run_dir), "--sort", "x").stdout
    assert "ValueError: this kind is bad" in " ".join(table.split())


def test_mistakes_in_show_and_status_are_one_line(project: Project) -> None:
    run_dir = finished_run(project)
    done = project.cli("show", str(run_dir), "--sort", "scor")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "there is no column 'scor'; did you mean 'score'?\n"
    for command in ("show", "status", "resume"):
        done = project.cli(command, str(project.path))
        assert done.returncode == 2
        assert "is no run directory: it has no journal.jsonl" in done.stderr
    shutil.rmtree(run_dir)


def test_secrets_of_the_cluster_are_not_kept_and_asked_for_again(project: Project) -> None:
    project.write(
        "mine.py",
        """
        from distributed import LocalCluster

        class Cluster(LocalCluster):
            def __init__(self, *, password, **options):
                assert password == "hunter2", password
                super().__init__(n_workers=1, processes=False, dashboard_address=None, **options)
        """,
    )
    project.write("user.py", "def train(): return 1.0")
    project.config(
        cluster={"kind": "mine.Cluster", "options": {"password": "hunter2"}},
        limits={"max_time_s": 1e6},
    )
    environment = {**os.environ, "PYTHONPATH": str(project.path)}
    done = project.cli("run", "config.yaml", "--json", env=environment)
    assert done.returncode == 0, done.stderr
    run_dir = Path(json.loads(done.stdout)["run_dir"])
    for file in run_dir.rglob("*"):
        assert file.is_dir() or b"hunter2" not in file.read_bytes(), file
    again = project.cli("resume", str(run_dir), env=environment)
    assert again.returncode == 2
    assert "give it again with --set cluster.options.password=..." in again.stderr
    override = "cluster.options.password=hunter2"
    again = project.cli("resume", str(run_dir), "--set", override, env=environment)
    assert again.returncode == 0, again.stderr
    assert "hunter2" not in (run_dir / "journal.jsonl").read_text()
