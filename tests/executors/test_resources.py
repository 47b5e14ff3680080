"""`resources:`: ranks get GPUs, cores and memory of their own, or the run doesn't begin. GPUs are pretended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.config.errors import ConfigError
from dotrain.errors import ResourcesUnavailable
from tests.conftest import Project

TELL = """
import os

def train(x, trial_dir):
    seen = [os.environ.get(n) for n in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")]
    (trial_dir / f"seen-{os.getpid()}").write_text(repr(seen))
    return x
"""
SEARCH = {
    "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
    "optimizer": {"name": "random"},
    "num_trials": 8,
}


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def seen(run_dir: Path) -> list[Any]:
    return [eval(path.read_text()) for path in sorted(run_dir.glob("trials/*/seen-*"))]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_gpu_is_of_whoever_got_it(
    project: Project, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOTRAIN_START_METHOD", method)
    given = {**SEARCH, "num_trials": 4}
    result = project.run(TELL, search=given, cluster={"kind": "local"}, resources={"gpus": 1})
    found = seen(result.run_dir)
    assert len(found) == 4
    assert {gpus for gpus, _ in found} == {"GPU-a", "GPU-b"}


def test_shares_of_a_gpu_are_spread_and_cores_are_threads(project: Project) -> None:
    wanted, search = {"gpus": 0.5, "cpus": 1}, {**SEARCH, "num_trials": 12}
    result = project.run(TELL, search=search, cluster={"kind": "local"}, resources=wanted)
    assert {tuple(one) for one in seen(result.run_dir)} <= {("GPU-a", "1"), ("GPU-b", "1")}
    cluster = {"kind": "local", "workers": 4}
    result = project.run(TELL, search=search, cluster=cluster, resources={"gpus": 0.5})
    assert {gpus for gpus, _ in seen(result.run_dir)} == {"GPU-a", "GPU-b"}


def test_without_a_word_each_slot_has_its_own_and_a_single_training_all(project: Project) -> None:
    cluster = {"kind": "local", "workers": 2}
    result = project.run(TELL, search=SEARCH, cluster=cluster)
    assert {gpus for gpus, _ in seen(result.run_dir)} == {"GPU-a", "GPU-b"}
    result = project.run(TELL, hparams={"x": 1.0}, cluster={"kind": "local"})
    assert [gpus for gpus, _ in seen(result.run_dir)] == ["GPU-a,GPU-b"]


def test_what_the_config_sets_is_what_there_is_to_deal_out(project: Project) -> None:
    variables = [{"CUDA_VISIBLE_DEVICES": "GPU-c,GPU-d"}]
    cluster = {"kind": "local", "workers": 2}
    result = project.run(TELL, search=SEARCH, cluster=cluster, resources={"gpus": 1}, env=variables)
    assert {gpus for gpus, _ in seen(result.run_dir)} == {"GPU-c", "GPU-d"}
    variables = [{"CUDA_VISIBLE_DEVICES": "GPU-c"}]
    with pytest.raises(ResourcesUnavailable, match="env: leaves only gpus: 1, enough for 1 of 2"):
        project.run(TELL, search=SEARCH, cluster=cluster, resources={"gpus": 1}, env=variables)


def test_each_rank_of_a_group_has_its_own(project: Project) -> None:
    project.write(
        "pairs.py",
        """
        from contextlib import nullcontext
        from dotrain.abc import AbstractStrategy

        class Pairs(AbstractStrategy):
            slots = 2
            def open(self): return nullcontext()
        """,
    )
    told = 'print("sees", os.environ["CUDA_VISIBLE_DEVICES"])'
    result = project.run(
        f"import os\n\ndef train(x, dist_strategy):\n    {told}\n    return x",
        hparams={"x": 1.0},
        distribution={"strategy": "pairs:Pairs"},
        resources={"gpus": 1},
    )
    logs = (result.run_dir / "trials" / "t0000").glob("output*.log")
    told_by = [line for log in logs for line in log.read_text().splitlines() if "sees" in line]
    assert sorted(told_by) == ["sees GPU-a", "sees GPU-b"]


@pytest.mark.parametrize(
    ("wanted", "cluster", "message"),
    [
        ({"gpus": 3}, {}, "have gpus: 3 .resources.; there is only gpus: 2, enough for 0 of 1"),
        ({"gpus": 1}, {"workers": 3}, "there is only gpus: 2, enough for 2 of 3"),
        ({"memory": "900TB"}, {}, "have memory: 900000GB .resources.; there is only memory: "),
    ],
)
def test_too_much_asked_for_is_refused_with_what_there_is(
    project: Project, wanted: dict[str, Any], cluster: dict[str, Any], message: str
) -> None:
    cluster = {"kind": "local", **cluster}
    with pytest.raises(ResourcesUnavailable, match=message):
        project.run(TELL, search=SEARCH, cluster=cluster, resources=wanted)
    assert not list(project.path.glob("runs/*/*/trials/*"))


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"resources": {"gpus": 1.5}}, "resources.gpus: expected a whole number, or a share"),
        (
            {"resources": {"gpus": -1}},
            "resources.gpus: expected a number greater than or equal to 0",
        ),
        (
            {"resources": {"cpus": 0}},
            "resources.cpus: expected a number greater than or equal to 1",
        ),
        ({"resources": {"memory": "8"}}, "resources.memory: expected a size with its unit"),
        ({"resources": {"memory": "0GB"}}, "resources.memory: expected a size with its unit"),
        (
            {"resources": {"cpus": 1}, "cluster": {"kind": "local", "threads": 2}},
            "resources.cpus: differs from cluster.threads, 2; give one of the two",
        ),
        (
            {"resources": {"gpus": 1}, "cluster": {"kind": "inline"}},
            "resources: kind 'inline' gives nobody a share of its machine; use cluster.kind: local",
        ),
    ],
)
def test_what_can_not_be_meant_is_refused_with_its_place(
    project: Project, sections: dict[str, Any], message: str
) -> None:
    project.write("user.py", TELL)
    with pytest.raises(ConfigError, match=r"config.yaml:\d+:\d+: ") as caught:
        load_config(project.config(search=SEARCH, **sections))
    assert message in str(caught.value)


def test_check_says_who_gets_what(project: Project) -> None:
    project.write("user.py", TELL)
    project.config(search=SEARCH, cluster={"kind": "local"}, resources={"gpus": 0.5, "cpus": 1})
    text = project.cli("check", "config.yaml").stdout
    assert "resources  gpus: 0.5, cpus: 1 for each rank" in text
    assert "gpus       GPU-a for 1 slot; GPU-b for 1 slot" in text
    plan = json.loads(project.cli("check", "config.yaml", "--json").stdout)
    assert plan["threads"] == {"count": 1, "source": "resources.cpus"}
    assert plan["gpus"][0] == ["GPU-a"]
