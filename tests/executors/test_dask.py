"""Dask's own faults: workers that die or hang, clusters that aren't there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from dotrain.attempts.deaths import cause_of_death
from dotrain.errors import ResourcesUnavailable
from tests.cluster import at, cluster
from tests.conftest import Project

LOCAL = {"kind": "local", "workers": 2}
SEARCH: dict[str, Any] = {
    "space": {"n": {"type": "categorical", "values": [0, 1, 2, 3, 4, 5]}},
    "optimizer": {"name": "grid"},
}


def descendants() -> set[int]:
    return {p.pid for p in psutil.Process().children(recursive=True)}


def test_a_trial_whose_worker_is_killed_runs_again_from_its_checkpoint(project: Project) -> None:
    before = descendants()
    result = project.run(
        """
        import os, signal

        def train(n, checkpoint, reporter):
            for step in range(checkpoint.step, 4):
                with checkpoint.save(step=step + 1):
                    pass
                reporter.broadcast(n, step)
                if n == 2 and step == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
            return n
        """,
        search=SEARCH,
        cluster=LOCAL,
    )
    assert result.summary["trials"] == {
        "total": 6,
        "finished": 6,
        "stopped": 0,
        "diverged": 0,
        "failed": 0,
    }
    trial = result.trials[2]
    assert (trial.attempt, trial.losses) == (2, 1)
    # Even the report of the very moment of death.
    assert trial.step_history == [0, 1, 2, 3]
    assert any("killed by SIGKILL" in line.what for line in trial.story)
    assert all(t.attempt == 1 for t in result.trials if t is not trial)
    assert descendants() == before


def test_a_trial_that_kills_every_worker_fails_alone(project: Project) -> None:
    result = project.run(
        """
        import os

        def train(n):
            if n == 2:
                print("about to go", flush=True)
                os._exit(7)
            return n
        """,
        search=SEARCH,
        cluster=LOCAL,
        limits={"retries": 1},
    )
    assert result.summary["trials"] == {
        "total": 6,
        "finished": 5,
        "stopped": 0,
        "diverged": 0,
        "failed": 1,
    }
    (group,) = result.summary["failures"]
    assert "ended with exit code 7; given up after 2 tries" in group["message"]
    assert group["last_lines"][-1] == "about to go"


def test_a_hung_function_is_killed_and_the_others_go_on(project: Project) -> None:
    result = project.run(
        """
        import threading

        def train(n):
            if n == 2:
                threading.Event().wait()
            return n
        """,
        search=SEARCH,
        cluster=LOCAL,
        limits={"trial_timeout_s": 4.0},
    )
    assert result.summary["trials"] == {
        "total": 6,
        "finished": 5,
        "stopped": 0,
        "diverged": 0,
        "failed": 1,
    }
    (group,) = result.summary["failures"]
    assert group["kind"] == "timeout"
    assert "ran longer than 4 s (limits.trial_timeout_s)" in group["message"]


def test_the_time_limit_ends_the_run_and_every_process(project: Project) -> None:
    before = descendants()
    result = project.run(
        """
        import threading

        def train(n):
            if n > 1:
                threading.Event().wait()
            return n
        """,
        search=SEARCH,
        cluster=LOCAL,
        limits={"max_time_s": 12.0},
    )
    assert result.status == "time_limit"
    assert result.best is not None
    assert result.summary["trials"]["unfinished"] == 2
    assert descendants() == before


def test_trials_run_at_the_same_time_on_different_workers(project: Project) -> None:
    result = project.run(
        """
        import contextlib, os

        def train(n, trial_dir):
            if n < 2:  # a pipe opens when both of its ends are
                pipe = trial_dir.parent / "pipe"
                with contextlib.suppress(FileExistsError):
                    os.mkfifo(pipe)
                open(pipe, "rw"[n]).close()
            return {"score": 1, "pid": os.getpid()}
        """,
        search=SEARCH,
        cluster=LOCAL,
        limits={"trial_timeout_s": 30},
    )
    assert result.status == "finished"
    pids = [trial.metrics["pid"] for trial in result.trials if trial.metrics]
    assert len(set(pids)) == 6, "an attempt has a process of its own"
    assert os.getpid() not in pids


def test_workers_share_the_cores_instead_of_fighting_for_them(project: Project) -> None:
    result = project.run(
        """
        import os

        def train():
            return float(os.environ["TF_NUM_INTRAOP_THREADS"])
        """,
        cluster={"kind": "local", "workers": len(os.sched_getaffinity(0))},
    )
    assert result.best is not None
    assert result.best["value"] == 1.0


def test_c_level_output_goes_to_the_trials_log(project: Project) -> None:
    result = project.run(
        """
        import os, subprocess, sys

        def train():
            os.write(1, b"from the descriptor\\n")
            print("from python", file=sys.stderr)
            subprocess.run(["echo", "from a child"])
            return 1.0
        """,
        cluster=LOCAL,
    )
    log = project.log(result)
    for text in ("from the descriptor", "from python", "from a child"):
        assert text in log


def test_an_address_nobody_answers_ends_with_exit_code_3(project: Project) -> None:
    project.write("user.py", "def train(): return 1.0")
    project.config(
        cluster={"kind": "address", "address": "tcp://127.0.0.1:1", "connect_timeout_s": 1}
    )
    done = project.cli("run", "config.yaml")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "no Dask scheduler answers at tcp://127.0.0.1:1 within 1 s" in done.stderr
    assert "dask scheduler" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "cluster",
    [
        {"kind": "address", "address": "tcp://127.0.0.1:1"},
        {"kind": "distributed.LocalCluster"},
    ],
    ids=lambda cluster: str(cluster["kind"]),
)
@pytest.mark.parametrize(
    "text",
    ["a: [1\nb: 2\n", "- a\n", "distributed: {admin: {tick: {limit: soon}}}"],
    ids=["no YAML", "no mapping", "no duration"],
)
def test_a_broken_file_of_dasks_settings_is_named_in_a_line(
    project: Project, cluster: dict[str, Any], text: str
) -> None:
    project.write("user.py", "def train():\n    return 1.0\n")
    project.config(cluster=cluster)
    broken = project.write("dask/broken.yaml", text)
    settings = {**os.environ, "DASK_CONFIG": str(broken.parent)}
    done = project.cli("run", "config.yaml", "--quiet", env=settings)
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Dask can't be imported: ")
    assert "/dask/broken.yaml" in line


def test_a_scheduler_without_workers_is_named(project: Project, tmp_path: Path) -> None:
    with (
        cluster(tmp_path / "cluster") as found,
        pytest.raises(ResourcesUnavailable, match=f"{found.address} has no worker.*dask worker"),
    ):
        project.run("def train(): return 1.0", cluster=at(found, connect_timeout_s=3))


def test_any_dask_cluster_class_will_do(project: Project) -> None:
    result = project.run(
        "def train(n): return n",
        search=SEARCH,
        cluster={
            "kind": "distributed.LocalCluster",
            "options": {"n_workers": 2, "processes": False, "dashboard_address": "127.0.0.1:0"},
        },
    )
    assert result.summary["trials"]["finished"] == 6


def test_a_cluster_class_that_cannot_be_started_is_named(project: Project) -> None:
    with pytest.raises(ResourcesUnavailable, match=r"no_such\.Cluster can't be started: ModuleNot"):
        project.run("def train(): return 1.0", cluster={"kind": "no_such.Cluster"})


def test_a_cluster_can_be_used_again_with_changed_code(project: Project, dask_address: str) -> None:
    cluster = {"kind": "address", "address": dask_address}
    project.write("helper.py", "VALUE = 1.0")
    source = "import helper\ndef train(): return helper.VALUE"
    assert project.run(source, cluster=cluster).best["value"] == 1.0  # type: ignore[index]
    project.write("helper.py", "VALUE = 2.0")
    assert project.run(cluster=cluster).best["value"] == 2.0  # type: ignore[index]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", ["local", "inline"])
def test_ctrl_c_ends_the_run_cleanly(project: Project, number: signal.Signals, kind: str) -> None:
    project.write(
        "user.py",
        """
        import itertools, time

        def train(n, reporter):
            for step in itertools.count():
                reporter.broadcast(n, step)
                if step == 0:
                    open("began", "w").close()
                time.sleep(0.01)
        """,
    )
    project.config(search=SEARCH, cluster={"kind": kind})
    began = project.moment("began")
    process = subprocess.Popen(
        [sys.executable, "-m", "dotrain", "run", "config.yaml", "--json"],
        cwd=project.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    began.wait(process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert '"status": "interrupted"' in out
    assert "Traceback" not in err
    assert "stopping; Ctrl-C again to stop at once" in err
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_a_killed_driver_leaves_no_process_behind(project: Project) -> None:
    project.write(
        "user.py",
        """
        import threading

        def train():
            open("began", "w").close()
            threading.Event().wait()
        """,
    )
    project.config(cluster=LOCAL)
    began = project.moment("began")
    process = subprocess.Popen(
        [sys.executable, "-m", "dotrain", "run", "config.yaml", "--quiet"], cwd=project.path
    )
    began.wait(process)
    children = psutil.Process(process.pid).children(recursive=True)
    # A worker that is still starting may have a child for a moment.
    assert len(children) >= 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_local_workers_that_die_at_once_are_not_waited_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("psutil.py", "raise RuntimeError('a broken installation')")
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    with pytest.raises(
        ResourcesUnavailable,
        match=r"(?s)no local worker got ready: the process that starts trials ended with exit code 1"
        r".*a broken installation",
    ):
        project.run(
            "def train(): return 1.0",
            cluster={"kind": "local", "workers": 2, "connect_timeout_s": 60},
        )


@pytest.mark.slow
def test_a_scheduler_that_goes_away_ends_the_run_so_that_it_can_be_resumed(
    project: Project, tmp_path: Path
) -> None:
    with cluster(tmp_path / "cluster") as found:
        found.worker()
        found.wait_for(1)
        project.write(
            "user.py",
            f"""
            import itertools, os, signal, time

            def train(n, reporter):
                if n < 3:
                    return n
                os.kill({found.processes[0].pid}, signal.SIGKILL)
                for step in itertools.count():
                    reporter.broadcast(n, step)
                    time.sleep(0.01)
            """,
        )
        project.config(search=SEARCH, cluster=at(found))
        done = project.cli("run", "config.yaml", "--json")
        assert done.returncode == 1
        assert f"the Dask scheduler at {found.address} is gone" in done.stderr
        result = json.loads(done.stdout)
        assert result["status"] == "interrupted"
        assert result["trials"] == {
            **{"total": 4, "finished": 3, "stopped": 0, "diverged": 0, "failed": 0},
            "unfinished": 1,
        }
    project.write("user.py", "def train(n): return n")
    how = ("--set", "cluster={kind: inline}", "--code", "current")
    again = project.cli("resume", result["run_dir"], "--json", *how)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["trials"]["finished"] == 6


def test_a_second_ctrl_c_ends_the_run_at_once(project: Project) -> None:
    project.write(
        "user.py",
        """
        import threading

        def train():
            open("began", "w").close()
            threading.Event().wait()
        """,
    )
    project.config(cluster=LOCAL)
    began = project.moment("began")
    # Workers that can't end, and a driver that would wait for them: nothing but the second Ctrl-C
    # ends the run, whenever it comes.
    code = (
        "from dotrain.attempts import host; from dotrain.cli import main;"
        "assert host._GRACE_S; host._GRACE_S = 1000; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", "config.yaml"],
        cwd=project.path,
        stderr=subprocess.PIPE,
        text=True,
    )
    began.wait(process)
    children = psutil.Process(process.pid).children(recursive=True)
    for child in children:
        child.suspend()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    while "Ctrl-C again to stop at once" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive


def test_a_death_is_told_by_its_cause() -> None:
    assert cause_of_death(3, False) == "its process ended with exit code 3"
    assert cause_of_death(-11, True) == "its process was killed by SIGSEGV"
    assert cause_of_death(-9, False) == "its process was killed by SIGKILL"
    assert cause_of_death(-9, True).endswith("killed by SIGKILL for want of memory")
    peak = 1_204_000_000
    assert cause_of_death(-9, True, "it", peak) == (
        "it was killed by SIGKILL for want of memory (it was seen to use 1,204 MB)"
    )
    assert cause_of_death(-9, False, "it", peak) == "it was killed by SIGKILL"
