"""A worker that is told to end gives its attempt some time: to a checkpoint, which is gone on from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain.attempts.sigterm import WHY as PROCESS_TOLD
from dotrain.config import load_config
from dotrain.core.observer import Observer
from dotrain.executors.dask.farewell import WHY as WORKER_TOLD
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run as run_session
from dotrain.store import read_journal
from tests.cluster import Cluster, cluster
from tests.conftest import Project
from tests.distribution.conftest import STRATEGY

pytestmark = pytest.mark.slow

#: Tells the worker that it runs on to end, in mid epoch: its `way` says which of its processes hear that.
TOLD = """
    import json, os, pathlib, signal, time
    import psutil

    def tell():
        pid, way = json.loads(pathlib.Path({workers!r}).read_text())[os.environ["NODE"]]
        worker = psutil.Process(pid)
        hear = dict(
            nobody=[],
            worker=[worker],
            every=[*worker.children(recursive=True), worker],
            below_nanny=[p for p in worker.children() if "spawn_main" in " ".join(p.cmdline())],
            attempt=[psutil.Process()],
        )[way]
        for process in hear:
            process.send_signal(signal.SIGTERM)

    def train(n, checkpoint, reporter, trial_dir, {more}):
        began_at = checkpoint.step
        for step in range(began_at, began_at + 1000):
            if began_at == 0 and step == 2:
                {tell}
                time.sleep(1)  # stands for the rest of the epoch
            time.sleep(0.01)
            with checkpoint.save(step=step + 1) as folder:
                (folder / "weights").write_text(str(step))
            {and_then}
            reporter.broadcast(step, step)
            if began_at or step == 300:
                return 100.0 + began_at
"""
#: Of each worker: its options, and who hears SIGTERM.
WORKERS = {
    "a": ("--nanny", "worker"),
    "b": ("--nanny", "every"),
    "c": ("--nanny", "below_nanny"),
    "d": ("--no-nanny", "every"),
    "e": ("--no-nanny", "attempt"),
    "f": ("--no-nanny", "nobody"),
}


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "cluster") as found:
        yield found


def run(
    project: Project,
    workers: Cluster,
    ways: dict[str, tuple[str, str]],
    more: str = "",
    tell: str = "tell()",
    and_then: str = "",
    trials: int = 1,
    runs: Path | None = None,
    **sections: Any,
) -> Result:
    """Run trials on these workers, each of which is told to end when its trial has reported twice."""
    pids = {name: workers.worker(option, NODE=name).pid for name, (option, _) in ways.items()}
    workers.wait_for(len(ways))
    told = {name: (pids[name], way) for name, (_, way) in ways.items()}
    file = project.write("workers.json", json.dumps(told))
    numbers = {"n": {"type": "categorical", "values": [*range(trials)]}}
    project.write(
        "user.py",
        TOLD.format(workers=str(file), more=more, tell=tell, and_then=and_then),
    )
    config = project.config(
        search={"space": numbers, "optimizer": {"name": "grid"}},
        cluster={"kind": "address", "address": workers.address, "connect_timeout_s": 60.0},
        checkpoints={"keep": "all"},
        **{"limits": {"retries": 1}, **sections},
    )
    return run_session(
        Experiment.of(load_config(config)), runs or project.path / "runs", Observer()
    )


def of(result: Result, kind: str, trial_id: str = "") -> list[dict[str, Any]]:
    records = read_journal(result.run_dir / "journal.jsonl")
    wanted = (trial_id, None) if trial_id else ()
    return [r for r in records if r["type"] == kind and (not wanted or r["trial_id"] in wanted)]


def check_went_on(result: Result, trial: Any) -> str:
    """The epoch that was under way is in the checkpoint, and reported once; why it was lost."""
    (lost,) = of(result, "Lost", trial.trial_id)
    _, second = of(result, "Started", trial.trial_id)
    reported = [r["step"] for r in of(result, "Reported", trial.trial_id)]
    assert second["resume_step"] >= 3, "it was not given the time to save its epoch"
    assert reported == [*range(len(reported))] == trial.step_history
    assert second["resume_step"] == len(reported) - 1
    assert (trial.attempt, trial.losses, trial.final_metric) == (2, 1, 99.0 + len(reported))
    return str(lost["cause"])


def test_whatever_is_told_to_end_an_attempt_saves_and_reports_first(
    project: Project, workers: Cluster
) -> None:
    result = run(project, workers, WORKERS, trials=len(WORKERS))
    assert result.summary["trials"]["finished"] == len(WORKERS)
    first = {r["trial_id"]: r["worker"] for r in reversed(of(result, "Started"))}
    causes = [check_went_on(result, t) for t in result.trials if t.attempt > 1]
    assert len(causes) == len(first) - 1 == 5
    assert sorted(causes) == sorted([WORKER_TOLD] * 4 + [PROCESS_TOLD])
    told = [r["why"] for r in of(result, "SlotsChanged") if "no more trials" in r.get("why", "")]
    assert len(told) == 4
    assert all(f": {WORKER_TOLD}; it gets no more trials" in line for line in told)


def test_all_ranks_of_a_trial_stop_at_the_same_step(project: Project, workers: Cluster) -> None:
    project.write("ranks.py", STRATEGY)
    result = run(
        project,
        workers,
        dict.fromkeys("abc", ("--no-nanny", "worker")),
        more="dist_strategy",
        tell="with dist_strategy() as seat: seat.rank == 1 and tell()",
        and_then=f"""with dist_strategy() as seat, open({str(project.path)!r} + f"/{{began_at}}-{{seat.rank}}", "a") as told: told.write(f"{{step}} ")""",
        distribution={"strategy": "ranks:Ranks", "workers": 2},
    )
    (trial,) = result.trials
    assert check_went_on(result, trial) == f"rank 1: {WORKER_TOLD}"
    chief, follower = ((project.path / f"0-{rank}").read_text().split() for rank in (0, 1))
    assert chief == follower == [str(step) for step in trial.step_history[:-1]]


def test_the_checkpoint_comes_home_from_a_worker_on_another_disk(
    project: Project, workers: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)  # where no worker is
    ways = {"a": ("--nanny", "every"), "b": ("--nanny", "every")}
    result = run(project, workers, ways, runs=Path("/proc/self/cwd/runs"))
    (trial,) = result.trials
    assert check_went_on(result, trial) == WORKER_TOLD


def test_a_worker_waits_no_longer_than_the_config_says(project: Project, workers: Cluster) -> None:
    result = run(
        project,
        workers,
        dict.fromkeys("ab", ("--nanny", "worker")),
        tell="import threading; tell(); threading.Event().wait()",
        limits={"retries": 1, "grace_s": 0.5},
    )
    (lost,) = of(result, "Lost")
    assert lost["cause"] == (
        f"{WORKER_TOLD}, and went before the attempt had reported (limits.grace_s)"
    )
    assert result.trials[0].final_metric == 102.0
