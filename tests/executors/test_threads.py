"""How many threads a slot's libraries get, who says so, and that they are told."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.executors.threads import asked, fault, share, variables
from dotrain.frameworks import registry
from tests.conftest import ROOT, Project
from tests.folder import Folder

#: Of one library each, beside the one that holds for all.
NAMES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
COUNTS = st.integers(1, 64)
WORDS = st.one_of(COUNTS.map(str), st.sampled_from(["", "0", "-1", "four", "1.5"]))


@given(
    key=st.none() | COUNTS,
    omp=st.none() | WORDS | st.lists(COUNTS, min_size=2).map(lambda n: ",".join(map(str, n))),
    others=st.dictionaries(st.sampled_from(NAMES), COUNTS.map(str)),
    cores=COUNTS,
    slots=COUNTS,
)
def test_the_config_goes_first_then_the_environment_then_a_share(
    key: int | None, omp: str | None, others: dict[str, str], cores: int, slots: int
) -> None:
    environment = {**others, **({} if omp is None else {"OMP_NUM_THREADS": omp})}
    threads = asked(key, environment) or share(cores, slots)
    said = (omp or "").split(",")[0]
    is_said = said.isdecimal() and int(said) >= 1
    if key is not None:
        assert (threads.count, threads.source) == (key, "cluster.threads")
    elif is_said:
        assert (threads.count, threads.source) == (int(said), "OMP_NUM_THREADS")
    else:
        assert (threads.count, threads.source) == (max(1, cores // slots), "cores / slots")
    assert bool(fault(key, environment)) == (key is None and bool(omp) and not is_said)
    wanted = dict.fromkeys(("OMP_NUM_THREADS", *NAMES), str(threads.count))
    found = {**environment, **variables(threads, wanted, environment)}
    assert asked(None, found) is not None
    assert found["OMP_NUM_THREADS"].split(",")[0] == wanted["OMP_NUM_THREADS"]
    for name in NAMES:
        may_stay = key is None and not is_said and name in others
        assert found[name] == (others[name] if may_stay else wanted[name])


@pytest.mark.parametrize(
    ("section", "omp", "count", "source"),
    [
        ("{workers: 2}", None, 3, "cores / slots"),
        ("{workers: 12}", None, 1, "cores / slots"),
        ("{workers: 2}", "4", 4, "OMP_NUM_THREADS"),
        ("{workers: 2, threads: 5}", "4", 5, "cluster.threads"),
        ("{kind: address, address: 'tcp://a:1', threads: 5}", "4", 5, "cluster.threads"),
        ("{kind: dask.Cluster, threads: 5}", None, 5, "cluster.threads"),
        ("{kind: inline}", "4", 4, "OMP_NUM_THREADS"),
        # What they get, only their workers or the libraries themselves know.
        ("{kind: address, address: 'tcp://a:1'}", "4", None, None),
        ("{kind: inline}", None, None, None),
        ("{kind: simulated}", "4", None, None),
    ],
)
def test_the_plan_says_what_each_slot_gets_and_from_where(
    folder: Folder,
    monkeypatch: pytest.MonkeyPatch,
    section: str,
    omp: str | None,
    count: int | None,
    source: str | None,
) -> None:
    from dotrain.config.plan import make_plan

    monkeypatch.setattr("dotrain.executors.local.available_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    plan = make_plan(folder.load(f"train: t.py:train\nmetric: m\ncluster: {section}\n"))
    assert plan["threads"] == (None if count is None else {"count": count, "source": source})


@pytest.mark.parametrize(
    ("section", "environment", "words"),
    [
        ("{workers: 2, threads: 3}", {}, "local, 2 slots, 3 threads each (cluster.threads)"),
        (
            "{workers: 1}",
            {"OMP_NUM_THREADS": "1"},
            "local, 1 slot, 1 thread each (OMP_NUM_THREADS)",
        ),
        ("{kind: address, address: 'tcp://a:1'}", {}, "as many slots as the cluster has workers"),
    ],
)
def test_check_prints_it(
    project: Project, section: str, environment: dict[str, str], words: str
) -> None:
    project.write("user.py", "def train():\n    return 1.0\n")
    project.write("config.yaml", f"train: user.py:train\nmetric: m\ncluster: {section}\n")
    done = project.cli("check", "config.yaml", env={**os.environ, **environment})
    assert f" {words}\n" in done.stdout


@pytest.mark.parametrize(
    ("section", "problems"),
    [
        (
            "{threads: 0}",
            ["3:20: cluster.threads: expected a number greater than or equal to 1, got 0"],
        ),
        (
            "{kind: inline, threads: 2}",
            [
                "3:25: cluster.threads: goes with a Dask cluster class or 'address' or 'local' "
                "only, not 'inline'"
            ],
        ),
        (
            "{workers: 2}",
            [
                "3:1: cluster.threads: the environment has OMP_NUM_THREADS=all; "
                "expected a whole number >= 1"
            ],
        ),
        (
            "{kind: inline}",
            [
                "3:1: cluster.threads: the environment has OMP_NUM_THREADS=all; "
                "expected a whole number >= 1"
            ],
        ),
    ],
)
def test_a_number_that_is_none_and_a_kind_that_takes_none_are_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, section: str, problems: list[str]
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if "threads" not in section:
        monkeypatch.setenv("OMP_NUM_THREADS", "all")
    head = "train: t.py:train\nmetric: m\n"
    found = folder.problems(f"{head}cluster: {section}\n")
    assert found == problems


#: As far as the test goes: one number that may be set once, as of PyTorch's inter-op threads.
TORCH = """
threads = 99

def set_num_interop_threads(count):
    global threads
    if threads != 99:
        raise RuntimeError("cannot set number of interop threads after set_num_interop_threads called")
    threads = count

def manual_seed(seed):
    pass
"""
USER = """
import json, os, torch

def train(trial_dir):
    names = json.loads(os.environ["NAMES"])
    told = {name: os.environ.get(name) for name in names}
    print("told " + json.dumps({**told, "torch": torch.threads}))
    return 1.0
"""


def told(project: Project, cluster: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """What libraries find in a trial."""
    names = sorted(registry.threads(1))
    clean = {name: value for name, value in os.environ.items() if name not in names}
    library = project.write("installed/torch.py", TORCH).parent
    path = os.pathsep.join([str(library), str(ROOT)])
    project.config(cluster=cluster)
    settings = {**clean, **environment, "PYTHONPATH": path, "NAMES": json.dumps(names)}
    done = project.cli("run", "config.yaml", "--json", env=settings)
    assert not done.returncode, done.stderr
    (log,) = project.path.glob("runs/*/*/trials/t0000/output.log")
    (line,) = (line for line in log.read_text().splitlines() if line.startswith("told "))
    found: dict[str, Any] = json.loads(line.removeprefix("told "))
    return found


@pytest.mark.parametrize(
    ("kind", "key", "environment", "count"),
    [
        ("local", 3, {"OMP_NUM_THREADS": "5", "MKL_NUM_THREADS": "7"}, 3),
        ("local", None, {"OMP_NUM_THREADS": "5", "MKL_NUM_THREADS": "1"}, 5),
        ("inline", None, {"OMP_NUM_THREADS": "5"}, 5),
    ],
)
def test_what_is_asked_for_holds_for_all_libraries(
    project: Project, kind: str, key: int | None, environment: dict[str, str], count: int
) -> None:
    project.write("user.py", USER)
    cluster = {"kind": kind, **({"threads": key} if key else {})}
    found = told(project, cluster, environment)
    assert found == {name: str(count) for name in registry.threads(1)} | {"torch": count}


def test_inline_leaves_libraries_alone_where_nobody_asks(project: Project) -> None:
    project.write("user.py", USER)
    found = told(project, {"kind": "inline"}, {})
    assert found == dict.fromkeys(registry.threads(1)) | {"torch": 99}


def test_what_the_users_code_sets_itself_is_left_to_it(project: Project) -> None:
    own = USER.replace("    names =", "    torch.set_num_interop_threads(7)\n    names =")
    project.write("user.py", own)
    assert told(project, {"kind": "local", "threads": 2}, {})["torch"] == 7


def test_the_variables_of_an_inline_run_end_with_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in registry.threads(1):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    before = dict(os.environ)
    result = project.run(
        """
        import os

        def train():
            return float(os.environ["TF_NUM_INTRAOP_THREADS"] + os.environ["MKL_NUM_THREADS"])
        """,
        cluster={"kind": "inline"},
    )
    assert result.best is not None
    assert result.best["value"] == 22.0
    assert dict(os.environ) == before


def test_workers_started_by_hand_are_told_too(project: Project, dask_address: str) -> None:
    train = """
        import os

        def train(n):
            return float(os.environ["OMP_NUM_THREADS"]) + n
        """
    grid = {
        "space": {"n": {"type": "discrete", "values": [0]}},
        "optimizer": {"name": "grid"},
    }
    cluster = {"kind": "address", "address": dask_address}
    for more, count in (({"threads": 3}, 3.0), ({}, 1.0)):
        result = project.run(train, search=grid, cluster={**cluster, **more})
        assert result.best is not None
        assert result.best["value"] == count


@pytest.mark.parametrize(
    ("kind", "key", "environment"),
    [("local", 1, {"OMP_NUM_THREADS": "2"}), ("inline", None, {"OMP_NUM_THREADS": "1"})],
)
def test_pytorch_keeps_to_it_within_and_between_operations(
    project: Project, kind: str, key: int | None, environment: dict[str, str]
) -> None:
    pytest.importorskip("torch")
    project.write(
        "user.py",
        """
        import torch

        def train():
            return 10.0 * torch.get_num_threads() + torch.get_num_interop_threads()
        """,
    )
    # Not more than there are cores: MKL gives no more.
    own = {"workers": 1, "threads": key} if key else {}
    project.config(cluster={"kind": kind, **own})
    done = project.cli("run", "config.yaml", "--json", env={**os.environ, **environment})
    assert json.loads(done.stdout)["best"]["value"] == 11.0
