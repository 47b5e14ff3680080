"""`resources:` on workers of a Dask cluster: slots are counted from what they have. GPUs are pretended."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.config.errors import ConfigError
from dotrain.errors import ResourcesUnavailable
from dotrain.executors.dask import admission, site, workers
from dotrain.executors.dask.site import Question
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.store import read_journal
from tests.cluster import Cluster, at, cluster
from tests.conftest import Project, said
from tests.executors.test_resources import SEARCH, TELL, seen
from tests.executors.test_waits import Told

GRID = {
    "space": {"n": {"type": "categorical", "values": [0, 1, 2, 3]}},
    "optimizer": {"name": "grid"},
}
PAIRS = """
from contextlib import nullcontext
from dotrain.abc import AbstractStrategy

class Pairs(AbstractStrategy):
    slots = 2
    def open(self): return nullcontext()
"""


@pytest.fixture(scope="module")
def two_gpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A worker that sees two, and has threads for four slots."""
    with cluster(tmp_path_factory.mktemp("resources") / "cluster") as found:
        environment = {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b", "OMP_NUM_THREADS": ""}
        found.worker("--nthreads", "4", "--memory-limit", "1GB", **environment)
        found.wait_for(1)
        yield found


def most_slots(result: Result) -> int:
    records = read_journal(result.run_dir / "journal.jsonl")
    return max(r["slots"] for r in records if r["type"] == "SlotsChanged")


def test_a_worker_with_two_gpus_has_two_slots_and_each_its_own(
    project: Project, two_gpus: Cluster
) -> None:
    function = """
    import contextlib, os

    def train(n, trial_dir):
        if n < 2:  # a pipe opens when both of its ends are
            pipe = trial_dir.parent / "pipe"
            with contextlib.suppress(FileExistsError):
                os.mkfifo(pipe)
            open(pipe, "rw"[n]).close()
        seen = [os.environ.get(n) for n in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]
        (trial_dir / "seen-0").write_text(repr(seen))
        return n
    """
    result = project.run(function, search=GRID, cluster=at(two_gpus), resources={"gpus": 1})
    assert most_slots(result) == 2
    # It has four threads, of which each slot has its share.
    found = seen(result.run_dir)
    assert sorted(found[:2]) == [["GPU-a", "2"], ["GPU-b", "2"]]
    assert {tuple(one) for one in found} == {("GPU-a", "2"), ("GPU-b", "2")}


def test_a_rank_that_is_ended_on_one_slot_of_a_worker_takes_no_other_with_it(
    project: Project, two_gpus: Cluster, tmp_path: Path
) -> None:
    project.write("pairs.py", PAIRS)
    function = f"""
    import os, threading

    def train(n, dist_strategy):
        if n == 0:
            try:
                os.mkdir("{tmp_path}/first")
            except FileExistsError:
                raise ValueError("the second") from None
            threading.Event().wait()
        return n
    """
    result = project.run(
        function,
        search=GRID,
        distribution={"strategy": "pairs:Pairs"},
        cluster=at(two_gpus),
        resources={"gpus": 0.5},
    )
    assert result.summary["trials"]["finished"] == 3
    assert "ValueError: the second" in result.summary["failures"][0]["message"]
    assert [trial.losses for trial in result.trials] == [0, 0, 0, 0]


def test_jobs_that_both_call_their_gpu_0_have_a_slot_each(project: Project, tmp_path: Path) -> None:
    with cluster(tmp_path / "cluster") as found:
        for key in "ab":
            folder = tmp_path / key
            folder.mkdir()
            (folder / "nvidia-smi").write_text(f"#!/bin/sh\necho 0, GPU-{key}\n")
            (folder / "nvidia-smi").chmod(0o755)
            path = f"{folder}:{os.environ['PATH']}"
            found.worker(CUDA_VISIBLE_DEVICES="0", PATH=path)
        found.wait_for(2)
        result = project.run(TELL, search=SEARCH, cluster=at(found), resources={"gpus": 1})
    assert most_slots(result) == 2
    assert {gpus for gpus, _ in seen(result.run_dir)} == {"0"}


def test_shares_of_a_gpu_are_spread_and_cores_are_threads(
    project: Project, two_gpus: Cluster
) -> None:
    search = {**SEARCH, "num_trials": 12}
    result = project.run(TELL, search=search, cluster=at(two_gpus), resources={"gpus": 0.5})
    assert most_slots(result) == 4
    assert {tuple(one) for one in seen(result.run_dir)} == {("GPU-a", "1"), ("GPU-b", "1")}
    wanted = {"gpus": 1, "cpus": 1, "memory": "600MB"}
    result = project.run(TELL, search=SEARCH, cluster=at(two_gpus), resources=wanted)
    assert most_slots(result) == 1, "for the memory that it was started with"
    assert {tuple(one) for one in seen(result.run_dir)} == {("GPU-a", "1")}


def test_without_a_word_a_worker_is_a_slot_as_it_was_started(
    project: Project, two_gpus: Cluster
) -> None:
    result = project.run(TELL, search=SEARCH, cluster=at(two_gpus))
    assert most_slots(result) == 1
    assert {tuple(one) for one in seen(result.run_dir)} == {("GPU-a,GPU-b", "4")}


def test_gpus_that_the_config_names_are_what_there_is_to_deal_out(
    project: Project, two_gpus: Cluster
) -> None:
    result = project.run(
        TELL,
        search=SEARCH,
        cluster=at(two_gpus),
        resources={"gpus": 1},
        env=[{"CUDA_VISIBLE_DEVICES": "GPU-b"}],
    )
    assert {gpus for gpus, _ in seen(result.run_dir)} == {"GPU-b"}


@contextmanager
def elsewhere(*asked: Any) -> Iterator[Question]:
    """Ask as if the run directory were on another disk than the workers'."""
    with site.question(*asked) as question:
        yield replace(question, run_dir="/not/there")


@pytest.mark.parametrize("disk", ["shared", "another"])
def test_each_rank_on_one_worker_has_a_gpu_and_files_of_its_own(
    project: Project, two_gpus: Cluster, disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if disk == "another":
        monkeypatch.setattr(admission, "question", elsewhere)
    project.write("pairs.py", PAIRS)
    function = """
    import os

    def train(x, dist_strategy, checkpoint):
        print("sees", os.environ["CUDA_VISIBLE_DEVICES"])
        with checkpoint.save(step=checkpoint.step + 1) as folder:
            (folder / "weights").write_text(f"{x}")
        return x
    """
    result = project.run(
        function,
        distribution={"strategy": "pairs:Pairs"},
        resources={"gpus": 0.5},
        search={**SEARCH, "num_trials": 6},
        checkpoints={"keep": "all"},
        cluster=at(two_gpus),
    )
    assert result.summary["trials"]["finished"] == 6
    assert most_slots(result) == 4
    for trial in result.trials:
        folder = result.run_dir / "trials" / trial.trial_id
        logs = [file.read_text() for file in folder.glob("output*.log")]
        assert [log.count("sees GPU-") for log in logs] == [1, 1]
        (weights,) = folder.glob("checkpoint/*/weights")
        assert weights.read_text() == str(trial.params["x"])
    assert (disk == "another") is any("through dotrain" in line for line in said(result))


def test_a_worker_with_too_little_is_named_with_what_it_has_and_others_go_on(
    project: Project, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    os.mkfifo(told)
    project.write("user.py", f"def train():\n    open('{told}').close()\n    return 1.0\n")
    with cluster(tmp_path / "cluster") as found:
        found.worker(CUDA_VISIBLE_DEVICES="GPU-a")
        found.worker(CUDA_VISIBLE_DEVICES="")
        found.wait_for(2)
        config = project.config(cluster=at(found), resources={"gpus": 1})
        observer = Told("isn't used: every rank is to have gpus: 1 (resources)", told)
        result = run(Experiment.of(load_config(config)), project.path / "runs", observer)
    assert result.status == "finished"
    (line,) = [line for line in said(result) if "isn't used" in line]
    assert "and it has only gpus: 0; start it with more (CUDA_VISIBLE_DEVICES, --nthreads" in line


@pytest.mark.slow
def test_too_much_asked_for_ends_with_what_there_is(project: Project, two_gpus: Cluster) -> None:
    where = at(two_gpus, connect_timeout_s=10.0)
    message = "every rank is to have gpus: 1, memory: 2GB .resources., and it has only memory: 1GB"
    with pytest.raises(ResourcesUnavailable, match=message) as caught:
        project.run(TELL, search=SEARCH, cluster=where, resources={"gpus": 1, "memory": "2GB"})
    assert caught.value.exit_code == 3
    assert "has no worker that got ready within 10 s" in str(caught.value)


@pytest.mark.slow
def test_a_group_for_which_there_are_too_few_slots_ends_with_how_many(
    project: Project, two_gpus: Cluster
) -> None:
    project.write("pairs.py", PAIRS)
    message = "takes 2 slots of gpus: 2 .resources. each .distribution.workers., and .* has 1 that"
    with pytest.raises(ResourcesUnavailable, match=message):
        project.run(
            "def train(x, dist_strategy): return x",
            hparams={"x": 1.0},
            distribution={"strategy": "pairs:Pairs"},
            cluster=at(two_gpus, connect_timeout_s=10.0),
            resources={"gpus": 2},
        )


def test_a_worker_without_a_gpu_left_waits_for_one_that_another_gives_back(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_IDLE_S", 0.0)
    # The first attempt stays until its worker has been killed; the second is elsewhere.
    function = """
    import os, threading

    def train(x, trial_dir):
        told = trial_dir / f"seen-{os.getpid()}"
        told.write_text(repr([os.environ["CUDA_VISIBLE_DEVICES"], os.environ["WORKER"]]))
        if len(list(trial_dir.glob("seen-*"))) == 1:
            os.kill(int(os.environ["WORKER_PID"]), 9)
            threading.Event().wait()
        return x
    """
    with cluster(tmp_path / "cluster") as found:
        preload = tmp_path / "pid.py"
        preload.write_text("import os; os.environ['WORKER_PID'] = str(os.getpid())\n")
        for name in ("one", "two"):
            environment = {"CUDA_VISIBLE_DEVICES": "GPU-a", "WORKER": name}
            found.worker("--name", name, "--preload", str(preload), **environment)
        found.wait_for(2)
        result = project.run(function, hparams={"x": 1.0}, cluster=at(found), resources={"gpus": 1})
    assert result.status == "finished"
    assert result.trials[0].losses == 1
    assert sorted(seen(result.run_dir)) == [["GPU-a", "one"], ["GPU-a", "two"]]
    assert most_slots(result) == 1
    assert any(
        line.startswith("slots: ") and "1 on 1 worker; each with gpus: 1" in line
        for line in said(result)
    )
    (line,) = [line for line in said(result) if "has no slot for now" in line]
    assert "what it sees there is dealt to others, gpus: 1 each (resources)" in line


def test_gpus_that_lie_idle_are_told_with_what_to_do(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_IDLE_S", 0.0)
    with cluster(tmp_path / "cluster") as found:
        found.worker(CUDA_VISIBLE_DEVICES="GPU-a,GPU-b")
        found.wait_for(1)
        result = project.run(TELL, search=SEARCH, cluster=at(found), resources={"gpus": 1})
    (line,) = [line for line in said(result) if "lie idle" in line]
    assert line.startswith("GPUs GPU-b on ")
    assert "too few threads or too little memory for more than 1 slot; give it more" in line


def test_a_cluster_that_grows_gets_no_more_workers_than_a_group_has_slots_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a")
    project.write("pairs.py", PAIRS)
    options = {"threads_per_worker": 2, "dashboard_address": ":0", "host": "127.0.0.1"}
    adapt = {"minimum": 0, "maximum": 1}
    result = project.run(
        "def train(x, dist_strategy): return x",
        hparams={"x": 1.0},
        distribution={"strategy": "pairs:Pairs"},
        cluster={"kind": "distributed.LocalCluster", "adapt": adapt, "options": options},
        resources={"gpus": 0.5},
    )
    assert result.status == "finished"
    assert most_slots(result) == 2


def test_workers_of_a_cluster_that_the_run_starts_are_counted_too(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    options = {"threads_per_worker": 2, "dashboard_address": ":0", "host": "127.0.0.1"}
    started = {"kind": "distributed.LocalCluster", "workers": 1, "options": options}
    result = project.run(TELL, search=SEARCH, cluster=started, resources={"gpus": 1})
    assert most_slots(result) == 2
    assert {gpus for gpus, _ in seen(result.run_dir)} == {"GPU-a", "GPU-b"}


def test_check_says_that_slots_are_counted_when_workers_are_there(project: Project) -> None:
    project.write("user.py", TELL)
    where = {"kind": "address", "address": "tcp://127.0.0.1:1"}
    project.config(search=SEARCH, cluster=where, resources={"gpus": 1, "cpus": 2})
    text = project.cli("check", "config.yaml").stdout
    assert "as many slots as its workers have room for, 2 threads each (resources.cpus)" in text
    assert "resources  gpus: 1, cpus: 2 for each rank" in text
    plan = json.loads(project.cli("check", "config.yaml", "--json").stdout)
    assert (plan["slots"], plan["gpus"]) == (None, None)
    project.config(search=SEARCH, cluster={**where, "threads": 3}, resources={"cpus": 2})
    with pytest.raises(ConfigError, match=r"differs from cluster\.threads, 3; give one of the two"):
        load_config(project.path / "config.yaml")
