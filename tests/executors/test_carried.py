"""Two hosts with disks of their own: the same files and decisions as on one, whatever is killed.

Each worker has a mount namespace of its own, in which something else lies where the driver's runs are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core.observer import Observer
from dotrain.experiment import resume
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.store import read_journal
from dotrain.store.folder import Folder
from tests.conftest import ROOT, Project, start
from tests.executors.test_files import files

pytestmark = pytest.mark.slow

#: What makes a mount namespace; root needs no other user for it.
UNSHARE = ["unshare", *(["-m"] if os.getuid() == 0 else ["-rm"])]


def can_unshare() -> bool:
    try:
        return subprocess.run([*UNSHARE, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


if not can_unshare():
    pytest.skip("this machine gives nobody a mount namespace", allow_module_level=True)


@contextmanager
def cluster(folder: Path, mounts: list[str]) -> Iterator[tuple[str, list[Any]]]:
    """Start a scheduler, and a worker for each command that changes what it sees; its address."""
    folder.mkdir()
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    dask = [sys.executable, "-m", "dask"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = open(folder / "log", "w")  # noqa: SIM115
    options: dict[str, Any] = {"stdout": log, "stderr": log, "cwd": folder, "env": environment}
    processes = [start([*dask, "scheduler", *common, "--port", "0"], **options)]
    for mount in mounts:
        worker = [*dask, "worker", *common, "--nthreads", "1", "--no-nanny"]
        inside = ["sh", "-c", f'{mount} && exec "$@"', "sh", *worker]
        processes.append(start([*UNSHARE, *inside], **options))
    try:
        from distributed import Client

        with Client(scheduler_file=str(file), timeout=60, set_as_default=False) as client:
            client.wait_for_workers(len(mounts), timeout=60)
            address = client.scheduler.address
        yield address, processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
        log.close()


def other_disk(runs: Path) -> str:
    return f"mount -t tmpfs none '{runs}'"


def read_only(runs: Path) -> str:
    return f"mount --bind '{runs}' '{runs}' && mount -o remount,bind,ro '{runs}'"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a cluster, and where runs go of which one worker sees nothing, one can't write."""
    folder = tmp_path_factory.mktemp("far")
    runs = folder / "runs"
    runs.mkdir()
    with cluster(folder / "cluster", [other_disk(runs), read_only(runs)]) as (address, _):
        yield address, runs


def search(project: Project, address: str, runs: Path, function: str, **sections: Any) -> Result:
    project.write("user.py", function)
    config = project.config(cluster={"kind": "address", "address": address}, **sections)
    return run(Experiment.of(load_config(config)), runs, Observer())


def decisions(result: Result) -> list[dict[str, Any]]:
    records = read_journal(result.run_dir / "journal.jsonl")
    return [
        {
            key: value
            for key, value in record.items()
            if key not in ("crc", "n", "t", "usage", "worker")
        }
        for record in records
        if record["type"] in ("Launch", "Started", "Reported", "Finished", "Finish")
    ]


def said(result: Result) -> list[str]:
    records = read_journal(result.run_dir / "journal.jsonl")
    return [record["why"] for record in records if record.get("why")]


ASHA = """
    import os

    def train(x, budget, checkpoint, reporter, trial_dir, dist_strategy):
        dist_strategy()
        with open(trial_dir / "history", "a") as history:
            for step in range(checkpoint.step, int(budget)):
                with checkpoint.save(step=step + 1) as folder:
                    (folder / "weights").write_text(f"{x} after {step}")
                history.write(f"{step}\\n")
                reporter.broadcast(x, step)
        return x
"""
SECTIONS: dict[str, Any] = {
    "search": {
        "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
        "optimizer": {
            "name": "asha",
            "resource_min": 1,
            "resource_max": 4,
            "reduction_factor": 2,
        },
        "num_trials": 8,
    },
}
#: Two ranks for each trial: both hosts have a part in all of them, and they come in one order.
PAIR = {"strategy": "ranks:Ranks", "workers": 2}


def test_two_disks_give_the_decisions_and_files_of_one(
    project: Project, far: tuple[str, Path], runs: Path
) -> None:
    from tests.distribution.conftest import STRATEGY

    project.write("ranks.py", STRATEGY)
    sections = {**SECTIONS, "distribution": PAIR}
    address, runs_elsewhere = far
    near = search(project, address, runs, ASHA, **sections)
    away = search(project, address, runs_elsewhere, ASHA, **sections)
    assert away.status == "finished"
    assert decisions(away) == decisions(near)
    assert files(away) == files(near)
    assert any(record.get("resume_step", 0) > 0 for record in decisions(away))
    assert said(near) == ["files: shared disk (2 workers)"]
    (line,) = said(away)
    assert line == f"files: through dotrain ({os.uname().nodename}: 2 workers)"


GRID: dict[str, Any] = {
    "search": {
        "space": {"n": {"type": "categorical", "values": [0, 1]}},
        "optimizer": {"name": "grid"},
    }
}
#: Its first checkpoint is small, the second large; it never ends while the second is on its way.
TWO_CHECKPOINTS = """
    import signal
    import time
    from pathlib import Path

    import psutil

    SHARED = Path({shared!r})

    def train(n, checkpoint):
        print("from", checkpoint.step)
        worker = next(p for p in psutil.Process().parents() if "worker" in p.cmdline())
        if n == 0 and checkpoint.step == 0:
            with checkpoint.save(step=1) as folder:
                (folder / "weights").write_bytes(b"1" * 1_000_000)
            while not (SHARED / "the first is home").exists():
                time.sleep(0.01)
            (SHARED / "pid").write_text(str(worker.pid))
            with checkpoint.save(step=2) as folder:
                (folder / "weights").write_bytes(b"2" * 50_000_000)
            signal.pause()
        return n
"""


class Watched:
    """What `Folder` does at home, while somebody dies of it."""

    def __init__(self, shared: Path, die: Callable[[], None]) -> None:
        self.commit, self.write = Folder.commit, Folder.write
        self.shared, self.die = shared, die

    def commits(self, folder: Folder, plan: Any, digests: Any) -> Any:
        answer = self.commit(folder, plan, digests)
        if "checkpoint/step-000000001" in plan.folders:
            (self.shared / "the first is home").touch()
        return answer

    def writes(self, folder: Folder, pieces: Any) -> None:
        self.write(folder, pieces)
        if any("step-000000002/weights" in path and offset > 0 for path, offset, _ in pieces):
            self.die()

    def watch(self) -> None:
        Folder.commit = lambda *arguments: self.commits(*arguments)  # type: ignore[method-assign]
        Folder.write = lambda *arguments: self.writes(*arguments)  # type: ignore[method-assign]

    def stop(self) -> None:
        Folder.commit, Folder.write = self.commit, self.write  # type: ignore[method-assign]


def check_goes_on_from_the_first(project: Project, result: Result) -> None:
    assert result.summary["trials"]["finished"] == 2
    log = project.log(result)
    assert (log.count("from 0\n"), log.count("from 1\n")) == (1, 1)
    found = files(result)
    assert [name for name in found if name.startswith("t0000/") and "weights" in name] == [
        "t0000/checkpoint/step-000000001/weights"
    ]
    assert found["t0000/checkpoint/step-000000001/weights"] == b"1" * 1_000_000
    assert not (result.run_dir / "arriving").exists()


def test_a_worker_killed_while_its_files_come_leaves_no_half_one(
    project: Project, tmp_path: Path, runs: Path
) -> None:
    killed = []

    def kill() -> None:
        if not killed:
            killed.append(int((tmp_path / "pid").read_text()))
            os.kill(killed[0], signal.SIGKILL)

    watched = Watched(tmp_path, kill)
    watched.watch()
    try:
        with cluster(tmp_path / "cluster", [other_disk(runs)] * 2) as (address, _):
            function = TWO_CHECKPOINTS.format(shared=str(tmp_path))
            result = search(project, address, runs, function, **GRID)
    finally:
        watched.stop()
    assert killed
    assert result.trials[0].losses == 1
    check_goes_on_from_the_first(project, result)


def test_a_driver_killed_while_files_come_leaves_no_half_one_and_goes_on(
    project: Project, tmp_path: Path, far: tuple[str, Path]
) -> None:
    address, runs = far
    before = set(runs.glob("*/*"))
    project.write("user.py", TWO_CHECKPOINTS.format(shared=str(tmp_path)))
    dies = (
        "import os, signal; from pathlib import Path; from dotrain.cli import main;"
        "from tests.executors.test_carried import Watched;"
        f"Watched(Path({str(tmp_path)!r}), lambda: os.kill(os.getpid(), signal.SIGKILL)).watch();"
        "main()"
    )
    project.config(cluster={"kind": "address", "address": address}, **GRID)
    command = ["run", "config.yaml", "--quiet", "--runs-dir", str(runs)]
    died = subprocess.run(
        [sys.executable, "-c", dies, *command],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    (run_dir,) = set(runs.glob("*/*")) - before
    assert [path.name for path in (run_dir / "arriving").rglob("weights")] == ["weights"]
    (checkpoint,) = (run_dir / "trials" / "t0000" / "checkpoint").iterdir()
    assert checkpoint.name == "step-000000001"
    result = resume(run_dir, quiet=True)
    check_goes_on_from_the_first(project, result)


def test_a_large_checkpoint_comes_home_through_little_memory(
    project: Project, far: tuple[str, Path]
) -> None:
    address, runs = far
    project.write(
        "user.py",
        """
        import os

        def train(megabytes, checkpoint):
            with checkpoint.save(step=1) as folder, open(folder / "weights", "wb") as file:
                for _ in range(megabytes):
                    file.write(os.urandom(1_000_000))
            return 1.0
        """,
    )
    project.config(cluster={"kind": "address", "address": address}, hparams={"megabytes": 1})
    # One after the other in one process, each with the most memory that this has had so far.
    code = """
        import re, sys
        from dotrain.experiment import run
        for megabytes in (1, 150):
            run("config.yaml", [f"hparams.megabytes={megabytes}"], runs_dir=sys.argv[1], quiet=True)
            print(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1])
    """
    before = set(runs.glob("*/*"))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(runs)],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    small, large = (int(kilobytes) * 1024 for kilobytes in done.stdout.split())
    new = set(runs.glob("*/*")) - before
    weights = [next(folder.glob("trials/*/checkpoint/*/weights")) for folder in new]
    assert sorted(file.stat().st_size for file in weights) == [1_000_000, 150_000_000]
    assert large - small < 64_000_000
    print(f"the driver grew by {large - small:,} bytes")


def test_a_worker_that_cant_load_dotrain_is_named_and_the_others_go_on(
    project: Project, tmp_path: Path, runs: Path
) -> None:
    broken = tmp_path / "broken" / "dotrain"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('of another world')\n")
    with cluster(tmp_path / "cluster", [f"export PYTHONPATH='{broken.parent}'", "true"]) as (at, _):
        result = search(project, at, runs, "def train(n): return n", **GRID)
    assert result.summary["trials"]["finished"] == 2
    lines = said(result)
    assert any("isn't used: it can't load dotrain (ImportError(" in line for line in lines)
    assert "files: shared disk (1 worker)" in lines
