"""A real Slurm: jobs that end in every way, and what is left of them.

The first test starts what takes a minute, the last looks what has become of it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain.executors.dask.farewell import WHY as WORKER_TOLD
from dotrain.executors.dask.jobs import name_of
from dotrain.store import read_journal
from tests.conftest import ROOT, Moment, Project, start
from tests.executors.slurm import REQUIRED, Slurm, why_not
from tests.test_docs import blocks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()) and not REQUIRED, reason=why_not() or "it is there"),
]

PAGE = "docs/clusters/slurm.md"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    assert not why_not(), f"DOTRAIN_REQUIRE_SLURM is set: {why_not()}"
    found = Slurm(tmp_path_factory.mktemp("slurm") / "daemons")
    found.environment |= {
        "PYTHONPATH": str(ROOT),
        # What Dask waits before it gives up a job without a worker: 15 s.
        "DASK_DISTRIBUTED__DEPLOY__LOST_WORKER_TIMEOUT": "1s",
    }
    yield found
    found.close()


class Search:
    """A search on Slurm in a folder, driven by the command line."""

    def __init__(self, slurm: Slurm, folder: Path, function: str, **sections: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.slurm, self.project = slurm, Project(folder)
        options = {
            "cores": 1, "processes": 1, "memory": "1GB", "walltime": "00:05:00",
            "log_directory": "logs", "death_timeout": 20, "interface": "lo",
            "scheduler_options": {"dashboard_address": ":0"}, **sections.pop("options", {}),
        }  # fmt: skip
        cluster = {"kind": "dask_jobqueue.SLURMCluster", "connect_timeout_s": 120.0}
        cluster |= {"options": options, **sections.pop("cluster", {"workers": 1})}
        self.project.write("user.py", function)
        self.project.config(cluster=cluster, **sections)

    def start(self, *command: str) -> subprocess.Popen[Any]:
        with open(self.project.path / "err", "a") as err:
            return start(
                [sys.executable, "-m", "dotrain", *(command or ("run", "config.yaml", "--json"))],
                stdout=subprocess.PIPE, stderr=err, text=True,
                cwd=self.project.path, env=self.slurm.environment,
            )  # fmt: skip

    @property
    def err(self) -> str:
        return (self.project.path / "err").read_text()

    def result_of(self, driver: subprocess.Popen[Any]) -> dict[str, Any]:
        out, _ = driver.communicate(timeout=200)
        assert driver.returncode == 0, self.err
        return dict(json.loads(out))

    @property
    def run_dir(self) -> Path:
        (found,) = self.project.path.glob("runs/*/*")
        return found

    def records(self, kind: str) -> list[dict[str, Any]]:
        return [r for r in read_journal(self.run_dir / "journal.jsonl") if r["type"] == kind]

    def jobs(self) -> dict[str, str]:
        """The state of each of this run's jobs."""
        name = name_of(self.run_dir)
        listed = self.slurm.run("squeue", "--noheader", "--name", name, "--format", "%i %T")
        return dict(line.split() for line in listed.splitlines())


#: Begins, and waits for ever; tried again, it goes on from its checkpoint.
ONCE = """
    import threading

    def train(checkpoint, reporter):
        began_at = checkpoint.step
        for step in range(began_at, 2):
            with checkpoint.save(step=step + 1):
                pass
            reporter.broadcast(step, step)
            if began_at == 0:
                open({began!r}, "w").close()
                threading.Event().wait()
        return 10.0 + began_at
"""


#: The same, but for ever means epoch after epoch.
EPOCHS = """
    import time

    def train(checkpoint, reporter):
        began_at = checkpoint.step
        for step in range(began_at, 10_000):
            time.sleep(0.2)  # stands for an epoch
            with checkpoint.save(step=step + 1):
                pass
            reporter.broadcast(step, step)
            if began_at:
                return 10.0
            if step == 0:
                open({began!r}, "w").close()
"""


def once(
    slurm: Slurm, folder: Path, function: str = ONCE, **sections: Any
) -> tuple[Search, Moment]:
    folder.mkdir(parents=True)
    search = Search(slurm, folder, function.format(began=str(folder / "began")), **sections)
    return search, Moment(folder / "began")


def check_went_on(search: Search, result: dict[str, Any], losses: int = 1) -> None:
    assert result["best"]["value"] == 11.0, "it began again instead of going on"
    assert [r["attempt"] for r in search.records("Launch")] == [*range(1, losses + 2)]
    assert search.jobs() == {}


@pytest.fixture(scope="module")
def at_its_wall_time(
    slurm: Slurm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Search, subprocess.Popen[Any]]]:
    """A trial that has begun in a job of a minute, which is the least; Slurm warns it a minute before its end."""
    folder = tmp_path_factory.mktemp("wall") / "time"
    directives = ["--signal=B:TERM@60"]
    options = {"walltime": "00:01:00", "job_extra_directives": directives}
    search, began = once(slurm, folder, EPOCHS, options=options)
    driver = search.start()
    began.wait(driver)
    yield search, driver
    driver.kill()
    driver.communicate()


def test_the_page_ends_with_the_best_models_file(
    slurm: Slurm, tmp_path: Path, at_its_wall_time: object
) -> None:
    (function,), (config,) = blocks(PAGE, "python"), blocks(PAGE, "yaml")
    _, *commands = [
        shlex.split(line)[2:]
        for block in blocks(PAGE, "console")
        for line in block.splitlines()
        if line.startswith("$ ")
    ]
    (tmp_path / "train.py").write_text(function)
    (tmp_path / "search.yaml").write_text(config)
    for words in commands:
        done = subprocess.run(
            [sys.executable, "-m", "dotrain", *words],
            cwd=tmp_path, env=slurm.environment, capture_output=True, text=True, timeout=200,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{words}: {done.stderr}"
        assert "warning" not in done.stderr.lower()
    (model,) = (tmp_path / "best").rglob("model.txt")
    (run_dir,) = tmp_path.glob("runs/*/*")
    best = json.loads((run_dir / "result.json").read_text())["best"]
    assert model.read_text() == "{x} {y}\n".format(**best["params"])
    assert list((tmp_path / "slurm-logs").iterdir())


def test_two_ranks_of_a_trial_have_a_job_each(slurm: Slurm, tmp_path: Path) -> None:
    _, _, strategy, *_ = blocks("docs/plugins.md", "python")
    search = Search(
        slurm,
        tmp_path / "group",
        """
        import os

        def train(dist_strategy):
            with dist_strategy() as seat:
                return {"score": int(os.environ["WORLD_SIZE"]), "job": int(os.environ["SLURM_JOB_ID"])}
        """,
        distribution={"strategy": "my_strategy:Launched", "workers": 2},
        cluster={"workers": 2},
    )
    search.project.write("my_strategy.py", strategy)
    result = search.result_of(search.start())
    assert result["best"]["value"] == 2
    assert search.jobs() == {}


def test_a_cancelled_job_costs_its_trial_no_more_than_a_try(slurm: Slurm, tmp_path: Path) -> None:
    search, began = once(slurm, tmp_path / "cancelled")
    driver = search.start()
    began.wait(driver)
    (job,) = search.jobs()
    slurm.run("scancel", job)
    check_went_on(search, search.result_of(driver))


def test_a_killed_driver_is_resumed_without_its_old_jobs(slurm: Slurm, tmp_path: Path) -> None:
    search, began = once(slurm, tmp_path / "killed", cluster={"workers": 2})
    driver = search.start()
    began.wait(driver)
    old = {*search.jobs()}
    assert len(old) == 2
    driver.kill()
    driver.communicate()
    # What is left of it would hinder: a job that has not begun, and knows nothing of its driver's end.
    name = name_of(search.run_dir)
    held = slurm.run("sbatch", "--hold", "--job-name", name, "--wrap", "true").split()[-1]
    assert held in search.jobs()
    again = search.start("resume", "latest", "--json")
    result = search.result_of(again)
    check_went_on(search, result)
    assert not (old | {held}) & {*slurm.jobs()}


def test_workers_come_when_there_is_work_and_go_when_there_is_none(
    slurm: Slurm, tmp_path: Path
) -> None:
    folder = tmp_path / "adaptive"
    folder.mkdir()
    over = folder / "over"
    os.mkfifo(over)
    search = Search(
        slurm,
        folder,
        f"""
        def train(n):
            if n == 2:
                open({str(over)!r}).close()
            return n
        """,
        search={
            "space": {"n": {"type": "categorical", "values": [0, 1, 2]}},
            "optimizer": {"name": "grid"},
        },
        cluster={"adapt": {"minimum": 0, "maximum": 3}},
    )
    driver = search.start()
    # The last trial holds its worker; the others go, one after the other.
    until(driver, lambda: [r["slots"] for r in slots(search)][-1:] == [3])
    until(driver, lambda: [r["slots"] for r in slots(search)][-1:] == [1])
    until(driver, lambda: len(search.jobs()) == 1)
    over.write_text("")
    result = search.result_of(driver)
    assert result["trials"]["finished"] == 3
    assert search.jobs() == {}


def slots(search: Search) -> list[dict[str, Any]]:
    found = [*search.project.path.glob("runs/*/*/journal.jsonl")]
    return search.records("SlotsChanged") if found else []


def until(driver: subprocess.Popen[Any], holds: Callable[[], bool]) -> None:
    """Ask again whenever the driver has had time for something."""
    while not holds():
        with pytest.raises(subprocess.TimeoutExpired):
            driver.wait(0.2)


def test_ctrl_c_leaves_no_job_that_runs(slurm: Slurm, tmp_path: Path) -> None:
    search, began = once(slurm, tmp_path / "running")
    driver = search.start()
    began.wait(driver)
    check_interrupted(search, driver)


def test_ctrl_c_leaves_no_job_that_waits(slurm: Slurm, tmp_path: Path) -> None:
    options = {"job_extra_directives": ["--hold"]}
    search, _ = once(slurm, tmp_path / "waiting", options=options)
    driver = search.start()
    until(driver, lambda: runs(search) and "PENDING" in search.jobs().values())
    until(driver, lambda: "jobs: 1 PENDING (JobHeldUser)" in search.err)
    check_interrupted(search, driver)


def check_interrupted(search: Search, driver: subprocess.Popen[Any]) -> None:
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "Traceback" not in search.err
    assert search.jobs() == {}


def runs(search: Search) -> bool:
    return any(search.project.path.glob("runs/*/*"))


def test_what_slurm_refuses_is_told_in_a_line_and_leaves_no_job(
    slurm: Slurm, tmp_path: Path
) -> None:
    search = Search(
        slurm, tmp_path / "refused", "def train(): return 1.0", options={"queue": "nosuch"}
    )
    driver = search.start()
    driver.communicate(timeout=60)
    assert driver.returncode == 3
    (line,) = [line for line in search.err.splitlines() if "warning" not in line and line.strip()][
        -1:
    ]
    assert re.match(r"the cluster gives no workers: .*invalid partition specified: nosuch", line)
    assert "Traceback" not in search.err
    assert search.jobs() == {}


def test_a_job_that_is_warned_of_its_wall_time_ends_its_epoch_and_is_followed_by_another(
    at_its_wall_time: tuple[Search, subprocess.Popen[Any]],
) -> None:
    search, driver = at_its_wall_time
    assert search.result_of(driver)["best"]["value"] == 10.0
    (lost,) = search.records("Lost")
    assert lost["cause"] == WORKER_TOLD
    _, second = search.records("Started")
    steps = [record["step"] for record in search.records("Reported")]
    assert steps == [*range(second["resume_step"] + 1)], "its last epoch was lost, or done twice"
    assert search.jobs() == {}
