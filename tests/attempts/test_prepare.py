"""What ``prepare`` has loaded is every trial's, whatever the libraries do that load it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dotrain import experiment
from dotrain.config import ConfigError, load_config
from dotrain.core.trial import TrialState
from dotrain.errors import UsageError
from dotrain.experiment import lagom
from tests.conftest import Project
from tests.distribution.conftest import STRATEGY

SIX: dict[str, Any] = {
    "space": {"n": {"type": "categorical", "values": [0, 1, 2, 3, 4, 5]}},
    "optimizer": {"name": "grid"},
}
LOCAL = {"kind": "local", "workers": 2}

#: What each test's `load` does in between; it notes each call.
LOAD = """
import functools, os
from pathlib import Path

HERE = Path(__file__).parent

@functools.cache
def load():
    with open(HERE / "calls", "a") as file:
        file.write(f"{os.getpid()}\\n")
"""
TRAIN = """
def train(n, reporter):
    reporter.broadcast(load() + n, 0)
    return load() + n
"""


def run(project: Project, load: str, cluster: dict[str, Any] = LOCAL, **sections: Any) -> Any:
    project.write("user.py", LOAD + load + TRAIN)
    sections = {"search": SIX, "prepare": "user.py:load", **sections}
    return project.run(cluster=cluster, **sections)


def calls(project: Project) -> int:
    return len((project.path / "calls").read_text().splitlines())


def workers_log(result: Any) -> str:
    file: Path = next(iter(result.run_dir.rglob("workers.log")))
    return file.read_text()


def finished(result: Any) -> list[float]:
    return sorted(t.final_metric for t in result.trials if t.state is TrialState.FINISHED)


def test_data_are_loaded_once_for_all_trials(project: Project, cluster: dict[str, Any]) -> None:
    result = run(project, "    return 7\n", cluster)
    assert finished(result) == [7, 8, 9, 10, 11, 12]
    # Each worker of a cluster has its own.
    assert calls(project) in ((1, 2) if cluster["kind"] == "address" else (1,))


def test_the_ranks_of_a_group_share_it(project: Project) -> None:
    project.write("ranks.py", STRATEGY)
    train = TRAIN.replace("train(n,", "train(n, dist_strategy,")
    project.write("user.py", LOAD + "    return 7\n" + train)
    ranks = {"strategy": "ranks:Ranks", "workers": 2}
    result = project.run(cluster=LOCAL, search=SIX, distribution=ranks, prepare="user.py:load")
    assert finished(result) == [7, 8, 9, 10, 11, 12]
    assert calls(project) == 1


def test_where_nothing_is_forked_each_process_loads_for_itself(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOTRAIN_START_METHOD", "spawn")
    result = run(project, "    return 7\n")
    assert finished(result) == [7, 8, 9, 10, 11, 12]
    assert calls(project) >= 6


def test_a_study_that_needs_it_is_rehearsed_with_it(project: Project) -> None:
    project.write(
        "user.py",
        """
DATA = {}

def load():
    DATA.update(a=1.0, b=2.0)

def data(features):
    return {name: DATA[name] for name in features.select(DATA)}

def train(data_gen):
    return sum(data_gen.load().values())
""",
    )
    study = {"features": ["a", "b"], "seeds": 3}
    config = project.config(
        data="user.py:data", cluster=LOCAL, prepare="user.py:load", ablation=study
    )
    result = experiment.ablate(config, runs_dir=project.path / "runs", quiet=True)
    deltas = {each["name"]: each["delta"] for each in result["components"]}
    assert deltas == {"feature:a": -1.0, "feature:b": -2.0}


def test_the_memory_of_what_is_loaded_is_shared(project: Project) -> None:
    load = """
    import numpy as np
    global DATA
    DATA = np.ones(8_000_000)
    return 0

def train(n):
    pages = dict(line.split(":", 1) for line in open("/proc/self/smaps_rollup").readlines()[1:])
    private_kb = int(pages["Private_Dirty"].split()[0])
    assert DATA.sum() == 8e6
    return float(private_kb < 30_000)
"""
    project.write("user.py", LOAD + load)
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("this system doesn't tell what is shared")
    result = project.run(cluster=LOCAL, search=SIX, prepare="user.py:load")
    assert finished(result) == [1.0] * 6
    assert calls(project) == 1


PARQUET = """
    import pyarrow.parquet
    return pyarrow.parquet.read_table(HERE / "data.parquet").num_rows
"""
#: A region of OpenMP, in a library that isn't loaded before.
OPENMP = """
    import numpy as np
    from sklearn.cluster import KMeans
    KMeans(2, n_init=1).fit(np.arange(4000.0).reshape(2000, 2))

def train(n):
    import numpy as np
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_info
    KMeans(2, n_init=1).fit(np.arange(4000.0).reshape(2000, 2))
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"]
    return float(max(pools))
"""
OPENMP_THREADS = """
    from sklearn.utils import _openmp_helpers
    from threadpoolctl import threadpool_limits
    import numpy as np
    from sklearn.cluster import KMeans
    with threadpool_limits(2, user_api="openmp"):
        KMeans(2, n_init=1).fit(np.arange(4000.0).reshape(2000, 2))
    return 7
"""


def test_reading_parquet_leaves_threads_so_each_attempt_does_it(project: Project) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"a": list(range(1000)), "b": list(range(1000))})
    parquet.write_table(table, project.path / "data.parquet")
    result = run(project, PARQUET)
    assert finished(result) == [1000, 1001, 1002, 1003, 1004, 1005]
    assert calls(project) > 6
    said = "'prepare' leaves threads of pyarrow, so each attempt calls it by itself"
    assert said in workers_log(result)


def test_openmp_has_one_thread_while_it_prepares_and_its_own_in_trials(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    project.write("user.py", LOAD + OPENMP)
    result = project.run(cluster=LOCAL, search=SIX, prepare="user.py:load")
    assert finished(result) == [2.0] * 6
    assert calls(project) == 1


def test_a_pool_of_openmp_that_was_used_is_not_forked(project: Project) -> None:
    pytest.importorskip("sklearn")
    result = run(project, OPENMP_THREADS)
    assert finished(result) == [7, 8, 9, 10, 11, 12]
    assert calls(project) > 6
    assert "'prepare' leaves threads of scikit_learn" in workers_log(result)


def test_threads_that_survive_a_fork_are_no_hindrance(project: Project) -> None:
    """NumPy and SciPy each have an OpenBLAS, whose threads begin when it is loaded."""
    pytest.importorskip("scipy")
    project.write(
        "user.py",
        """
        import os

        import numpy as np
        import scipy.linalg
        from threadpoolctl import threadpool_info

        AT_IMPORT = len(os.listdir("/proc/self/task"))
        IMPORTED_BY = os.getpid()

        def train(n):
            matrix = np.eye(500) * 2
            assert np.allclose(scipy.linalg.inv(matrix) @ matrix, np.eye(500))
            threads = {pool["num_threads"] for pool in threadpool_info()}
            return float(AT_IMPORT > 1 and IMPORTED_BY != os.getpid() and threads == {2})
        """,
    )
    result = project.run(cluster={"kind": "local", "workers": 1, "threads": 2}, search=SIX)
    assert finished(result) == [1.0] * 6, [t.error for t in result.trials]
    assert not list(result.run_dir.rglob("workers.log")) or "threads" not in workers_log(result)


@pytest.mark.slow
def test_an_operation_of_tensorflow_leaves_threads_so_each_attempt_does_it(
    project: Project,
) -> None:
    load = "    import tensorflow as tf\n    return float(tf.constant(7.0) * 1)\n"
    result = run(project, load)
    assert finished(result) == [7, 8, 9, 10, 11, 12]
    assert calls(project) > 6
    assert "'prepare' leaves threads of tensorflow" in workers_log(result)


def test_an_exception_fails_each_attempt_with_its_line(
    project: Project, cluster: dict[str, Any]
) -> None:
    result = run(project, "    raise OSError('no such data set')\n", cluster)
    failures = {trial.error for trial in result.trials}
    assert len(result.trials) == 6
    (failure,) = {(f.kind, f.message, f.source) for f in failures}
    message = "prepare failed: OSError: no such data set"
    assert failure == ("setup", message, "raise OSError('no such data set')")


def test_simulated_runs_prepare_nothing(project: Project) -> None:
    run(project, "    return 7\n", {"kind": "simulated", "workers": 2})
    assert not (project.path / "calls").exists()


def test_it_is_called_without_arguments(project: Project) -> None:
    project.write("user.py", "def load(path, size=1):\n    pass\n\ndef train():\n    return 1\n")
    with pytest.raises(ConfigError, match="load\\(\\) asks for 'path', but is called without arg"):
        load_config(project.config(prepare="user.py:load"))


def test_a_function_of_a_script_is_refused(tmp_path: Path) -> None:
    def load() -> None: ...

    load.__module__ = "__main__"
    with pytest.raises(UsageError, match=r"prepare.*load\(\) is defined in a script"):
        lagom(lambda: 1.0, metric="score", prepare=load, runs_dir=tmp_path, quiet=True)
