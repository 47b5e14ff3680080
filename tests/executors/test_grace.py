"""A worker that is told to end gives its attempt some time: to a checkpoint, which is gone on from elsewhere."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain.executors.dask.farewell import WHY
from dotrain.runs.result import Result
from dotrain.store import read_journal
from tests.conftest import Project
from tests.distribution.conftest import STRATEGY
from tests.executors.by_hand import Cluster, cluster

pytestmark = pytest.mark.slow

#: Tells the worker that it runs on to end, in mid epoch: `whom` says which of its processes hear that.
TOLD = """
    import json, os, pathlib, signal, time
    import psutil

    def tell():
        worker = psutil.Process(json.loads(pathlib.Path({pids!r}).read_text())[os.environ["NODE"]])
        every = [*worker.children(recursive=True), worker]
        whom = dict(
            worker=[worker],
            every=every,
            process=[p for p in worker.children() if "spawn_main" in " ".join(p.cmdline())],
            attempt=[psutil.Process()],
        )[{whom!r}]
        for process in whom:
            process.send_signal(signal.SIGTERM)

    def train(checkpoint, reporter, {more}):
        began_at = checkpoint.step
        for step in range(began_at, began_at + 1000):
            if began_at == 0 and step == 2 {and_if}:
                tell()
                time.sleep(1)  # is what is left of the epoch
            time.sleep(0.01)
            with checkpoint.save(step=step + 1) as folder:
                (folder / "weights").write_text(str(step))
            reporter.broadcast(step, step)
            if began_at:
                return 100.0 + began_at
"""


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "cluster") as found:
        yield found


def run(
    project: Project, workers: Cluster, *options: str, whom: str = "worker", **sections: Any
) -> Result:
    """Run a trial on one of two workers, which is told to end when it has reported twice."""
    started = {name: workers.worker(*options, NODE=name) for name in ("a", "b")}
    return run_on(project, workers, started, whom, **sections)


def run_on(
    project: Project,
    workers: Cluster,
    started: dict[str, subprocess.Popen[Any]],
    whom: str,
    more: str = "",
    and_if: str = "",
    **sections: Any,
) -> Result:
    workers.wait_for(len(started))
    pids = project.write("pids.json", json.dumps({n: p.pid for n, p in started.items()}))
    function = TOLD.format(pids=str(pids), whom=whom, more=more, and_if=and_if)
    cluster = {"kind": "address", "address": workers.address}
    return project.run(function, cluster=cluster, limits={"retries": 1}, **sections)


def of(result: Result, kind: str) -> list[dict[str, Any]]:
    return [r for r in read_journal(result.run_dir / "journal.jsonl") if r["type"] == kind]


def check_went_on(result: Result, why: str) -> None:
    """The epoch that was under way is in the checkpoint, and reported once."""
    (trial,) = result.trials
    (lost,) = of(result, "Lost")
    assert why in lost["cause"]
    _, second = of(result, "Started")
    reported = [r["step"] for r in of(result, "Reported")]
    assert second["resume_step"] >= 3, "it was not given the time to save its epoch"
    assert reported == [*range(len(reported))] == trial.step_history
    assert second["resume_step"] == len(reported) - 1
    assert (trial.attempt, trial.losses, trial.final_metric) == (2, 1, 99.0 + len(reported))


@pytest.mark.parametrize("whom", ["worker", "every"])
@pytest.mark.parametrize("options", [["--nanny"], ["--no-nanny"]], ids=" ".join)
def test_a_worker_that_is_told_to_end_lets_its_attempt_save_and_report_first(
    project: Project, workers: Cluster, options: list[str], whom: str
) -> None:
    result = run(project, workers, *options, whom=whom)
    check_went_on(result, WHY)
    first, second = of(result, "Started")
    assert first["worker"] != second["worker"]
    told = [r["why"] for r in of(result, "SlotsChanged") if "no more trials" in r.get("why", "")]
    assert len(told) == 1
    assert f"{WHY}; it gets no more trials" in told[0]
