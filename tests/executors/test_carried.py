"""Two hosts with disks of their own: the same files and decisions as on one, whatever is killed.

Each host has a network and a `/` of its own (`tests/hosts.py`). Of the runs' folders one lies on both, as a
shared disk does; of the other the first host has nothing, and the second can't write it.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core.events import Event, Started
from dotrain.core.instructions import Instruction, Launch
from dotrain.core.observer import Observer, RunView
from dotrain.runs.definition import Experiment
from dotrain.runs.session import run
from dotrain.store import read_journal
from dotrain.store.folder import Folder
from tests.conftest import ROOT, Project
from tests.distribution.conftest import STRATEGY
from tests.hosts import NAMES, SCHEDULER, Lan

pytestmark = pytest.mark.slow

#: What code that runs beside the driver finds.
HERE = "from tests.executors.test_carried import *; from pathlib import Path"


class Hosts:
    """Two of them, for all tests of this file."""

    def __init__(self, folder: Path) -> None:
        self.shared, self.away, self.pipes = (folder / n for n in ("shared", "away", "pipes"))
        for made in (self.shared, self.away, self.pipes):
            made.mkdir()
        self.lan = Lan(folder / "lan")
        self.workers = {name: self.start(name) for name in NAMES}
        self.lan.wait_for_workers(len(NAMES))

    def start(self, name: str, path: Sequence[Path] = (ROOT,)) -> Any:
        both = [str(self.shared), str(self.pipes)]
        return self.lan.worker(
            name, both if name == NAMES[0] else [*both, "--read-only", str(self.away)], path
        )

    def search(self, project: Project, runs: Path, code: str, **sections: Any) -> Path:
        """Run the config as some Python says; return the run directory."""
        cluster = {"kind": "address", "address": SCHEDULER}
        project.config(cluster=cluster, **sections)
        before = set(runs.glob("*/*"))
        done = self.lan.run(f"{HERE}; runs = Path({str(runs)!r})\n{code}", project.path)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        (run_dir,) = set(runs.glob("*/*")) - before
        return run_dir


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    hosts = Hosts(tmp_path_factory.mktemp("hosts"))
    yield hosts
    hosts.lan.close()


def run_here(runs: Path, observer: Observer | None = None) -> None:
    """Run the config of this folder."""
    run(Experiment.of(load_config(Path("config.yaml"))), runs, observer or Observer())


def files(run_dir: Path) -> dict[str, bytes]:
    trials = run_dir / "trials"
    return {
        str(path.relative_to(trials)): path.read_bytes() if path.is_file() else b"a folder"
        for path in trials.rglob("*")
        if "tfevents" not in path.name
    }


def records(run_dir: Path, *types: str) -> list[dict[str, Any]]:
    return [r for r in read_journal(run_dir / "journal.jsonl") if r["type"] in types]


def plain(run_dir: Path, *types: str) -> list[dict[str, Any]]:
    """Return records without what tells one run, or one host, from another."""
    own = ("crc", "n", "t", "usage", "worker", "host", "hosts")
    return [{k: v for k, v in r.items() if k not in own} for r in records(run_dir, *types)]


def decisions(run_dir: Path) -> list[dict[str, Any]]:
    return plain(run_dir, "Launch", "Reported", "Finished", "Finish")


def starts(run_dir: Path) -> list[dict[str, Any]]:
    """Return with which step each attempt began; which of the first two is sooner is free."""
    return sorted(plain(run_dir, "Started"), key=lambda r: (r["trial_id"], r["attempt"]))


def said(run_dir: Path) -> list[str]:
    return [record["why"] for record in records(run_dir, "SlotsChanged") if record.get("why")]


def trials_of(run_dir: Path) -> dict[str, int]:
    counts: dict[str, int] = json.loads((run_dir / "result.json").read_text())["trials"]
    return counts


# ---- the same as on one disk ----

ASHA = """
    from contextlib import suppress
    from pathlib import Path
    import os

    PIPES = Path({pipes!r})

    def train(x, budget, checkpoint, reporter, trial_dir):
        turn = PIPES / f"{{trial_dir.name}} from {{checkpoint.step}}"
        with suppress(FileExistsError):
            os.mkfifo(turn)
        with open(turn) as pipe:
            pipe.readline()
        with open(trial_dir / "history", "a") as history:
            for step in range(checkpoint.step, int(budget)):
                with checkpoint.save(step=step + 1) as folder:
                    (folder / "weights").write_text(f"{{x}} after {{step}}")
                history.write(f"{{step}}\\n")
                reporter.broadcast(x, step)
        return x
"""


class OneAfterTheOther(Observer):
    """Lets trials go on one at a time: when both hosts have one, that of the lowest number.

    So reports and ends come in one order, and with them decisions, however fast a host is.
    """

    def __init__(self, pipes: Path) -> None:
        self.pipes = pipes
        self.turns: dict[str, str] = {}
        self.now = ""
        self.open: list[int] = []

    def start(self, run: RunView) -> None:
        self.run = run

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        if isinstance(event, Started):
            self.turns[event.trial_id] = f"{event.trial_id} from {event.resume_step}"
        for launch in instructions:
            if isinstance(launch, Launch):
                self.turns[launch.trial_id] = ""
        waiting = [self.turns[trial_id] for trial_id in self.run.active]
        if waiting and all(waiting) and self.now not in waiting and self.run.slots == len(NAMES):
            self.now = min(waiting)
            pipe = self.pipes / self.now
            with suppress(FileExistsError):
                os.mkfifo(pipe)
            # For both: so it waits for nobody, and what is written stays until it is read.
            self.open.append(os.open(pipe, os.O_RDWR))
            os.write(self.open[-1], b"\n")

    def close(self) -> None:
        for descriptor in self.open:
            os.close(descriptor)
        for pipe in self.pipes.iterdir():
            pipe.unlink()


def test_two_disks_give_the_decisions_and_files_of_one(project: Project, hosts: Hosts) -> None:
    project.write("user.py", ASHA.format(pipes=str(hosts.pipes)))
    rungs = {"resource_min": 1, "resource_max": 4, "reduction_factor": 2}
    search = {
        "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
        "optimizer": {"name": "asha", **rungs},
        "num_trials": 8,
    }
    in_turn = f"run_here(runs, OneAfterTheOther(Path({str(hosts.pipes)!r})))"
    # So the first that is promoted is one that the other host has begun.
    sections = {"search": search, "direction": "min"}
    near = hosts.search(project, hosts.shared, in_turn, **sections)
    away = hosts.search(project, hosts.away, in_turn, **sections)
    assert trials_of(away)["finished"] == 8
    assert decisions(away) == decisions(near)
    assert starts(away) == starts(near)
    assert files(away) == files(near)
    assert said(near)[-1] == "files: shared disk (2 workers)"
    assert said(away)[-1] == "files: through dotrain (first: 1 worker, second: 1 worker)"
    went_on = [r["trial_id"] for r in records(away, "Started") if r["resume_step"] > 0]
    places: dict[str, list[str]] = {trial_id: [] for trial_id in went_on}
    for started in records(away, "Started"):
        if started["trial_id"] in places:
            places[started["trial_id"]].append(started["worker"])
    assert any(len(set(workers)) > 1 for workers in places.values()), "nobody has moved"


def test_a_group_has_a_rank_on_each_host_and_its_files_come_home(
    project: Project, hosts: Hosts
) -> None:
    project.write("ranks.py", STRATEGY)
    project.write(
        "user.py",
        """
        import os

        def train(checkpoint, reporter, dist_strategy):
            with dist_strategy() as seat:
                print("rank", seat.rank, "on", os.uname().nodename)
                with checkpoint.save(step=1) as folder:
                    (folder / "weights").write_text("of rank 0")
                reporter.broadcast(1.0, 0)
            return 1.0
        """,
    )
    pair = {"strategy": "ranks:Ranks", "workers": 2}
    run_dir = hosts.search(project, hosts.away, "run_here(runs)", distribution=pair)
    found = files(run_dir)
    logs = [found[f"t0000/{name}.log"].decode().splitlines() for name in ("output", "output-rank1")]
    ranks = {line for log in logs for line in log if line.startswith("rank ")}
    assert {line.split()[-1] for line in ranks} == set(NAMES)
    assert found["t0000/checkpoint/step-000000001/weights"] == b"of rank 0"


# ---- killed while files come ----

GRID: dict[str, Any] = {
    "search": {
        "space": {"n": {"type": "categorical", "values": [0, 1]}},
        "optimizer": {"name": "grid"},
    }
}
#: Its first checkpoint is small, the second large; it never ends while the second is on its way.
TWO_CHECKPOINTS = """
    import os
    import signal
    from pathlib import Path

    import psutil

    PIPES = Path({pipes!r})

    def train(n, checkpoint):
        print("from", checkpoint.step)
        worker = next(p for p in psutil.Process().parents() if "worker" in p.cmdline())
        if n == 0 and checkpoint.step == 0:
            (PIPES / "victim").write_text(f"{{os.uname().nodename}} {{worker.pid}}")
            with checkpoint.save(step=1) as folder:
                (folder / "weights").write_bytes(b"1" * 1_000_000)
            with open(PIPES / "the first is home") as pipe:
                pipe.readline()
            with checkpoint.save(step=2) as folder:
                (folder / "weights").write_bytes(b"2" * 50_000_000)
            signal.pause()
        return n
"""


class Watched:
    """What `Folder` does at home, while somebody dies of it."""

    def __init__(self, pipes: Path, die: Callable[[], None]) -> None:
        self.commit, self.write = Folder.commit, Folder.write
        self.die = die
        self.pipe = os.open(pipes / "the first is home", os.O_RDWR)

    def commits(self, folder: Folder, plan: Any, digests: Any) -> Any:
        answer = self.commit(folder, plan, digests)
        if "checkpoint/step-000000001" in plan.folders:
            os.write(self.pipe, b"\n")
        return answer

    def writes(self, folder: Folder, pieces: Any) -> None:
        self.write(folder, pieces)
        if any("step-000000002/weights" in path and offset > 0 for path, offset, _ in pieces):
            self.die()

    def watch(self) -> None:
        Folder.commit = lambda *arguments: self.commits(*arguments)  # type: ignore[method-assign]
        Folder.write = lambda *arguments: self.writes(*arguments)  # type: ignore[method-assign]


def kill_once(victim: Path) -> None:
    with suppress(FileNotFoundError):
        pid = int(victim.read_text().split()[1])
        victim.rename(victim.with_name("killed"))
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def pipes(hosts: Hosts) -> Iterator[Path]:
    os.mkfifo(hosts.pipes / "the first is home")
    yield hosts.pipes
    for left in hosts.pipes.iterdir():
        left.unlink()


def check_goes_on_from_the_first(run_dir: Path) -> None:
    assert trials_of(run_dir)["finished"] == 2
    found = files(run_dir)
    log = found["t0000/output.log"].decode()
    assert (log.count("from 0\n"), log.count("from 1\n")) == (1, 1)
    assert [name for name in found if name.startswith("t0000/") and "weights" in name] == [
        "t0000/checkpoint/step-000000001/weights"
    ]
    assert found["t0000/checkpoint/step-000000001/weights"] == b"1" * 1_000_000
    assert not (run_dir / "arriving").exists()


def test_a_worker_killed_while_its_files_come_leaves_no_half_one(
    project: Project, hosts: Hosts, pipes: Path
) -> None:
    project.write("user.py", TWO_CHECKPOINTS.format(pipes=str(pipes)))
    code = f"""
pipes = Path({str(pipes)!r})
Watched(pipes, lambda: kill_once(pipes / "victim")).watch()
run_here(runs)
"""
    run_dir = hosts.search(project, hosts.away, code, **GRID)
    killed = (pipes / "killed").read_text().split()[0]
    hosts.workers[killed] = hosts.start(killed)
    hosts.lan.wait_for_workers(len(NAMES))
    assert [lost["trial_id"] for lost in records(run_dir, "Lost")] == ["t0000"]
    check_goes_on_from_the_first(run_dir)


def test_a_driver_killed_while_files_come_leaves_no_half_one_and_goes_on(
    project: Project, hosts: Hosts, pipes: Path
) -> None:
    project.write("user.py", TWO_CHECKPOINTS.format(pipes=str(pipes)))
    code = f"""
Watched(Path({str(pipes)!r}), lambda: os.kill(os.getpid(), signal.SIGKILL)).watch()
run_here(runs)
"""
    run_dir = hosts.search(project, hosts.away, code, **GRID)
    assert not (run_dir / "result.json").exists()
    assert [path.name for path in (run_dir / "arriving").rglob("weights")] == ["weights"]
    (checkpoint,) = (run_dir / "trials" / "t0000" / "checkpoint").iterdir()
    assert checkpoint.name == "step-000000001"
    resumed = f"from dotrain.experiment import resume; resume({str(run_dir)!r}, quiet=True)"
    done = hosts.lan.run(resumed, project.path)
    assert done.returncode == 0, done.stderr
    check_goes_on_from_the_first(run_dir)


# ---- sizes ----


def write_peak(file: Path) -> None:
    """Note the most memory that this process has had so far, in bytes."""
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    file.write_text(str(int(line.split()[1]) * 1024))


def test_a_large_checkpoint_comes_home_through_little_memory(
    project: Project, hosts: Hosts
) -> None:
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
    # A small one first, so that the process has all that any run needs.
    code = """
from dotrain.experiment import run
for megabytes in (1, 150):
    run("config.yaml", [f"hparams.megabytes={megabytes}"], runs_dir=runs / str(megabytes), quiet=True)
    write_peak(runs / f"peak {megabytes}")
"""
    runs = hosts.away / "sizes"
    runs.mkdir()
    project.config(cluster={"kind": "address", "address": SCHEDULER}, hparams={"megabytes": 1})
    done = hosts.lan.run(f"{HERE}; runs = Path({str(runs)!r})\n{code}", project.path)
    assert done.returncode == 0, done.stderr
    (weights,) = runs.glob("150/*/*/trials/*/checkpoint/*/weights")
    assert weights.stat().st_size == 150_000_000
    small, large = (int((runs / f"peak {size}").read_text()) for size in (1, 150))
    assert large - small < 64_000_000
    print(f"the driver grew by {large - small:,} bytes")


# ---- who isn't let in ----


def test_workers_of_another_world_are_named_and_the_others_go_on(
    project: Project, hosts: Hosts
) -> None:
    cant_load = hosts.shared / "cant load"
    (cant_load / "dotrain").mkdir(parents=True)
    (cant_load / "dotrain" / "__init__.py").write_text("raise ImportError('of another world')\n")
    newer = hosts.shared / "newer"
    (newer / "dotrain-99.0.dist-info").mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: dotrain\nVersion: 99.0\n"
    (newer / "dotrain-99.0.dist-info" / "METADATA").write_text(metadata)
    others = [
        hosts.start("first", [cant_load, ROOT]),
        hosts.start("second", [newer, ROOT]),
    ]
    project.write("user.py", "def train(n): return n")
    try:
        hosts.lan.wait_for_workers(4)
        run_dir = hosts.search(project, hosts.shared, "run_here(runs)", **GRID)
    finally:
        for worker in others:
            hosts.lan.end(worker)
    assert trials_of(run_dir)["finished"] == 2
    lines = said(run_dir)
    assert any("isn't used: it can't load dotrain (ImportError(" in line for line in lines)
    assert any(" on second isn't used: dotrain 99.0 there, " in line for line in lines), lines
    assert "files: shared disk (2 workers)" in lines
