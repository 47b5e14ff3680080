"""Clusters that a run starts: how many workers they get, and that they end with it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Collection
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.config import ConfigError
from dotrain.errors import ResourcesUnavailable
from dotrain.executors.bookings import Load
from dotrain.executors.dask.cluster_class import find_class
from dotrain.executors.dask.jobs import in_queue, name_of
from dotrain.executors.dask.scaling import Demand, WholeSize, useful_workers
from tests.conftest import Project, start

EMPTY, BUSY = Load(), Load(frozenset(), False, 0)


def test_work_is_expected_until_a_slot_is_left_free() -> None:
    demand = Demand(idle_s=10.0)
    assert demand.look(EMPTY, 0.0) == (True, set())
    assert demand.look(BUSY, 1.0) == (True, set())
    one = Load(frozenset({"a"}), False, 3)
    assert demand.look(one, 2.0) == (False, set())
    assert demand.look(one, 11.9) == (False, set())
    assert demand.look(one, 12.0) == (False, {"a"})
    # It has gone; the others are busy with the last trials, of which there are no more.
    assert demand.look(Load(frozenset(), False, 3), 13.0) == (False, set())
    # One of these has ended, and its slot was filled again.
    assert demand.look(Load(frozenset(), False, 4), 14.0) == (True, set())


def test_workers_with_room_are_no_reason_for_more_and_are_not_let_go() -> None:
    demand = Demand(idle_s=0.0)
    partly = Load(frozenset(), False, 1, has_room=True)
    assert demand.look(partly, 0.0) == (False, set())
    assert demand.look(replace(partly, has_room=False), 0.0) == (True, set())


@given(st.integers(0, 5), st.integers(1, 20), st.integers(1, 7), st.integers(1, 7))
def test_workers_are_wanted_up_to_the_last_that_a_trial_has_room_on(
    least: int, most: int, per_trial: int, per_worker: int
) -> None:
    useful = useful_workers(least, most, per_trial, per_worker)
    assert useful == least or useful <= most
    assert useful_workers(least, most, per_trial, None) == most
    trials = most * per_worker // per_trial
    assert useful * per_worker // per_trial >= trials
    if useful > least:
        assert (useful - 1) * per_worker // per_trial < trials


def test_a_slot_that_was_busy_meanwhile_is_not_idle_for_long() -> None:
    demand = Demand(idle_s=10.0)
    idle = Load(frozenset({"a"}))
    demand.look(idle, 0.0)
    demand.look(BUSY, 5.0)
    assert demand.look(idle, 12.0) == (False, set())


LOADS = st.builds(Load, st.frozensets(st.sampled_from("abcd")), st.booleans(), st.integers(0, 5))


@given(st.lists(LOADS, max_size=20), st.floats(0.0, 5.0))
def test_who_is_busy_or_waited_for_is_never_let_go(loads: list[Load], step_s: float) -> None:
    demand, now_s = Demand(idle_s=3.0), 0.0
    for load in loads:
        now_s += step_s
        more, needless = demand.look(load, now_s)
        assert needless <= load.idle
        assert not (more and needless)
        assert not (load.waits and needless)
        assert more or not load.waits


class Whole:
    """A cluster that is scaled as a whole, as Gateway's and Kubernetes'."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def scale(self, n: int) -> Awaitable[None]:
        async def later() -> None:
            self.asked.append(n)

        return later()


def test_a_cluster_that_chooses_who_goes_loses_none_while_one_is_busy() -> None:
    async def scenario(idle: Collection[str]) -> list[int]:
        cluster = Whole()
        size = WholeSize(cluster)
        await size.grow(3)
        await size.shrink(idle, 1)
        return cluster.asked

    assert asyncio.run(scenario({"a", "b"})) == [3]
    assert asyncio.run(scenario({"a", "b", "c"})) == [3, 1]


def test_jobs_are_named_after_the_run_directory_and_where_it_lies(tmp_path: Path) -> None:
    here, copy = tmp_path / "runs" / "r", tmp_path / "copy" / "r"
    assert name_of(here) == name_of(here)
    assert name_of(here) != name_of(copy)
    assert name_of(here).startswith("dotrain-r-")
    queue = SimpleNamespace(job_cls=SimpleNamespace(cancel_command="qdel"))
    options, jobs = in_queue(queue, {"cores": 1, "job_name": "mine"}, here)
    assert options == {"cores": 1, "job_name": name_of(here, "mine")}
    assert jobs is None
    assert in_queue(object, {"n_workers": 1}, here) == ({"n_workers": 1}, None)


def test_the_name_of_jobs_is_one_word_for_slurm_and_never_the_names_of_others(
    tmp_path: Path,
) -> None:
    name = name_of(tmp_path / "a run, moved", "theirs,and mine")
    assert name.startswith("theirs-and-mine-a-run--moved-")
    assert name != name_of(tmp_path / "a-run--moved", "theirs,and mine"), "the path tells"


def test_a_slurm_jobs_worker_takes_the_place_of_its_shell_and_so_hears_slurms_warning(
    tmp_path: Path,
) -> None:
    queue = SimpleNamespace(job_cls=SimpleNamespace(cancel_command="scancel", config_name="slurm"))

    def python(**options: str) -> str:
        options, jobs = in_queue(queue, options, tmp_path)
        assert jobs is not None
        return options["python"]

    assert python() == f"exec {sys.executable}"
    assert python(python="'/my env/python'") == "exec '/my env/python'"
    with dask.config.set({"jobqueue.slurm.python": "/env/python", "jobqueue.mine.python": "/my"}):
        assert python() == "exec /env/python"
        assert python(config_name="mine") == "exec /my"
    assert python(python="srun python") == "srun python", "what else it says is left as it is"


def test_a_class_that_takes_ctrl_c_for_itself_doesnt_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "takes_signals.py").write_text(
        "import signal\nsignal.signal(signal.SIGINT, lambda *_: None)\nclass Cluster: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    assert find_class("takes_signals.Cluster").__name__ == "Cluster"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_package_that_isnt_there_is_named_with_how_to_get_it() -> None:
    with pytest.raises(ResourcesUnavailable, match="pip install dask-nosuch"):
        find_class("dask_nosuch.Cluster")


OWN = """
    import asyncio, pathlib, threading
    from distributed import LocalCluster

    assert threading.current_thread() is threading.main_thread(), "imported elsewhere"

    class Cluster(LocalCluster):
        def __init__(self, *, mode="", **options):
            self.mode = mode
            assert mode != "broken", "it is made badly"
            super().__init__(processes=False, dashboard_address="127.0.0.1:0", **options)

        async def _start(self):
            await super()._start()
            if self.mode == "slow":
                pathlib.Path({closed!r}).with_name("began").write_text("")
                await asyncio.Event().wait()
            assert self.mode != "unstartable", "no machine is left"

        def close(self, timeout=None):
            pathlib.Path({closed!r}).touch()
            return super().close(timeout)
"""


@pytest.fixture
def closed(project: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is there when the cluster of `own_cluster` has been closed."""
    path = project.path / "closed"
    project.write("own_cluster.py", OWN.replace("{closed!r}", repr(str(path))))
    monkeypatch.syspath_prepend(project.path)
    return path


def own(**more: Any) -> dict[str, Any]:
    options = more.pop("options", {"n_workers": 1})
    return {"kind": "own_cluster.Cluster", "options": options, **more}


def test_a_class_is_imported_on_the_main_thread_and_its_cluster_closed(
    project: Project, closed: Path
) -> None:
    result = project.run("def train(): return 1.0", cluster=own())
    assert result.best is not None
    assert closed.exists()


def test_a_cluster_that_fails_at_its_start_is_closed(project: Project, closed: Path) -> None:
    with pytest.raises(ResourcesUnavailable, match="no machine is left"):
        project.run("def train(): return 1.0", cluster=own(options={"mode": "unstartable"}))
    assert closed.exists()


def test_ctrl_c_while_a_cluster_starts_closes_it(project: Project, closed: Path) -> None:
    project.write("user.py", "def train(): return 1.0\n")
    project.config(cluster=own(options={"mode": "slow"}))
    began = project.moment("began")
    path = os.pathsep.join([str(project.path), *filter(None, [os.environ.get("PYTHONPATH")])])
    driver = start(
        [sys.executable, "-m", "dotrain", "run", "config.yaml"],
        cwd=project.path,
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    began.wait(driver)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, err
    assert "Traceback" not in err
    assert closed.exists()


def test_a_cluster_that_can_t_be_made_is_told(project: Project, closed: Path) -> None:
    with pytest.raises(ResourcesUnavailable, match="it is made badly"):
        project.run("def train(): return 1.0", cluster=own(options={"mode": "broken"}))
    assert not closed.exists()


def test_no_worker_within_the_time_closes_the_cluster(project: Project, closed: Path) -> None:
    with pytest.raises(ResourcesUnavailable, match="give own_cluster"):
        project.run(
            "def train(): return 1.0",
            cluster=own(options={"n_workers": 0}, connect_timeout_s=0.5),
        )
    assert closed.exists()


def test_a_run_may_begin_with_no_worker_and_get_as_many_as_it_needs(
    project: Project, closed: Path
) -> None:
    result = project.run(
        "def train(n): return n",
        search={
            "space": {"n": {"type": "categorical", "values": [0, 1, 2, 3]}},
            "optimizer": {"name": "grid"},
        },
        cluster=own(options={"n_workers": 0}, adapt={"minimum": 0, "maximum": 2}),
    )
    assert result.summary["trials"]["finished"] == 4
    assert closed.exists()


@pytest.mark.parametrize(
    ("cluster", "said"),
    [
        ({"workers": 2, "adapt": {"maximum": 2}}, "so does workers; leave one out"),
        ({"adapt": {"minimum": 3, "maximum": 2}}, "is more than adapt.maximum, 2"),
        ({"adapt": {}}, "adapt.maximum"),
        ({"kind": "local", "adapt": {"maximum": 2}}, "goes with a Dask cluster class only"),
    ],
    ids=["two sizes", "upside down", "no maximum", "local"],
)
def test_a_size_that_makes_no_sense_is_refused(
    project: Project, cluster: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        project.run(
            "def train(): return 1.0", cluster={"kind": "distributed.LocalCluster", **cluster}
        )


def test_too_small_a_cluster_for_one_trial_is_refused(project: Project) -> None:
    with pytest.raises(ResourcesUnavailable, match="there will never be more than 1"):
        project.run(
            "def train(dist_strategy): return 1.0",
            distribution={"strategy": "multi_worker_mirrored", "workers": 2},
            cluster={"kind": "distributed.LocalCluster", "adapt": {"maximum": 1}},
        )
