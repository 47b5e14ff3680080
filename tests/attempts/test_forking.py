"""Functions that start processes and set signals, as in a script: they end, and nothing of theirs is left."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from dotrain.core.trial import Trial
from tests.attempts.processes import MARK, processes_of
from tests.conftest import Project, make_cluster
from tests.distribution.conftest import STRATEGY
from tests.late import needs_keras, needs_torch

#: Each returns 12.
PLAIN = """
import concurrent.futures, multiprocessing, os, signal, subprocess


def twice(n):
    return 2 * n


def pool():
    with multiprocessing.Pool(2) as pool:
        return sum(pool.map(twice, range(4)))


def pool_left_open():
    global pool
    pool = multiprocessing.Pool(2)
    return sum(pool.map(twice, range(4)))


def executor():
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        return sum(pool.map(twice, range(4)))


def popen_left():
    subprocess.Popen(["sleep", "1000"])
    return 12


def daemon():
    there, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(tell, b"!")
            signal.pause()
        os._exit(0)
    os.wait()
    return 11 + len(os.read(there, 1))


def told_child():
    there, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(tell, b"!")
        while True:
            signal.pause()
    os.read(there, 1)
    os.kill(child, signal.SIGTERM)
    return os.waitpid(child, 0)[1] - signal.SIGTERM + 12


def signals():
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    signal.raise_signal(signal.SIGTERM)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while len(heard) < 2:
        signal.pause()
    signal.alarm(1000)  # ends with the process
    assert heard == [signal.SIGTERM, signal.SIGALRM]
    return 12
"""

TENSORFLOW = """
import tensorflow as tf


def tf_data():
    numbers = tf.data.Dataset.range(4).map(lambda n: 2 * n, num_parallel_calls=2).prefetch(2)
    numbers = numbers.shuffle(4).interleave(tf.data.Dataset.from_tensors, num_parallel_calls=2)
    return sum(int(n) for n in numbers)
"""

TORCH = """
import torch


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, n):
        return 2 * n


def data_loader():
    return sum(int(n.sum()) for n in torch.utils.data.DataLoader(Numbers(), 2, num_workers=2))
"""

#: What attempts run; the chief of a group and the other rank do the same.
TRAIN = """
import os


def train(what, trial_dir{more}):
    os.chdir(trial_dir)
    value = globals()[what]()
    print("all done")
    return value
"""


@dataclass
class Place:
    """A way to run attempts."""

    name: str
    request: pytest.FixtureRequest
    folders: pytest.TempPathFactory

    def run(self, code: str, *what: str) -> tuple[dict[str, Trial], list[str]]:
        """Run functions, one a trial; return the trials, and what is left of their processes."""
        project = Project(self.folders.mktemp(self.name))
        project.write("ranks.py", STRATEGY)
        is_group = self.name == "group"
        project.write("user.py", code + TRAIN.format(more=", dist_strategy" if is_group else ""))
        cluster = make_cluster("local" if is_group else self.name, self.request)
        if self.name == "address":
            cluster["workers"] = 1  # each imports what the function does
        before = psutil.Process().children(recursive=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(MARK, str(project.path))
            result = project.run(
                search={
                    "space": {"what": {"type": "categorical", "values": what}},
                    "optimizer": {"name": "grid"},
                },
                cluster=cluster,
                **({"distribution": {"strategy": "ranks:Ranks", "workers": 2}} if is_group else {}),
                limits={"trial_timeout_s": 60, "retries": 0},
            )
        left = set(psutil.Process().children(recursive=True)) - set(before)
        trials = {str(trial.params["what"]): trial for trial in result.trials}
        for trial in result.trials:
            logs = sorted((result.run_dir / "trials" / trial.trial_id).glob("*.log"))
            assert len(logs) == 1 + is_group
            said = [log.read_text() for log in logs]
            assert all("all done" in text for text in said), "\n".join(said)
        return trials, [*processes_of(project.path), *map(str, left)]


@pytest.fixture(scope="module", params=["local", "address", "group"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(request.param, request, tmp_path_factory)


KINDS = ["pool", "pool_left_open", "executor", "popen_left", "daemon", "told_child", "signals"]


@pytest.fixture(scope="module")
def plain(place: Place) -> tuple[dict[str, Trial], list[str]]:
    return place.run(PLAIN, *KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_script_may_do_a_train_function_may(
    plain: tuple[dict[str, Trial], list[str]], kind: str
) -> None:
    trials, left = plain
    assert trials[kind].final_metric == 12, trials[kind].story
    assert left == []


@needs_keras
@pytest.mark.slow
def test_tf_data_ends_with_its_attempt(place: Place) -> None:
    trials, left = place.run(TENSORFLOW, "tf_data")
    assert trials["tf_data"].final_metric == 12
    assert left == []


@needs_torch
@pytest.mark.slow
def test_workers_of_a_data_loader_end_with_its_attempt(place: Place) -> None:
    trials, left = place.run(TORCH, "data_loader")
    assert trials["data_loader"].final_metric == 12
    assert left == []


def test_processes_are_found_that_have_gone_far(tmp_path: Path) -> None:
    """Otherwise nothing here would prove anything."""
    elsewhere = subprocess.Popen(["sleep", "1000"], cwd="/", env={MARK: str(tmp_path)})
    here = subprocess.Popen(["sleep", "1000"], cwd=tmp_path, env={}, start_new_session=True)
    try:
        found = {int(line.split()[0]) for line in processes_of(tmp_path)}
        assert found == {elsewhere.pid, here.pid}
    finally:
        for process in (elsewhere, here):
            process.kill()
            process.wait()


def test_what_is_told_to_end_as_soon_as_it_is_forked_ends() -> None:
    """As `multiprocessing.Pool` does with what it has just begun, and waits for."""
    code = """
import os, signal
from dotrain.attempts.sigterm import Termination

heard = Termination()
for _ in range(300):
    if (child := os.fork()) == 0:
        signal.pause()
        os._exit(0)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
assert not heard.came
os.kill(os.getpid(), signal.SIGTERM)
assert heard.came
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
