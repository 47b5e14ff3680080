"""Six hosts, five with a trouble each, in one search: every configuration has its value once, and the run says
what happened to whom.

One host is well. One dies; one is cut off, counts as lost, and comes back while its attempt still runs; one is
slow; one has no room on its disk; one has another Python.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core import hosts
from dotrain.core.events import Event, Finished, Lost, SlotsChanged, Started
from dotrain.core.instructions import Instruction
from dotrain.core.observer import Observer, RunView
from dotrain.report.result import print_result
from dotrain.runs.definition import Experiment
from dotrain.runs.session import run
from tests.conftest import ROOT, Moment, Project
from tests.executors.test_carried import files, records, said, trials_of
from tests.hosts import SCHEDULER, Lan

pytestmark = pytest.mark.slow

HOSTS = ("steady", "mortal", "cut", "slow", "full", "foreign")
#: Those that are used.
USED = HOSTS[:-1]
TRIALS = 18
#: The last of them wait until all hosts are there that will be.
LAST = range(14, TRIALS)
#: What code that runs beside the driver finds.
HERE = "from tests.executors.test_bad_day import *"
#: So that a worker soon counts as lost, and notices it late.
SETTINGS = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "8s"}

TRAIN = """
    import os
    import time
    from contextlib import suppress
    from pathlib import Path

    PIPES = Path({pipes!r})
    HOSTS = {hosts!r}
    HOST = os.uname().nodename

    def train(n, checkpoint, reporter, trial_dir):
        (PIPES / f"child on {{HOST}}").write_text(str(os.getpid()))
        turn = PIPES / f"{{trial_dir.name}} on {{HOST}}"
        with suppress(FileExistsError):
            os.mkfifo(turn)
        with open(turn) as pipe:
            pipe.readline()
        if HOST == "full":
            with suppress(OSError), open("/tmp/ballast", "wb") as file:
                while True:
                    file.write(bytes(1_000_000))
        time.sleep(1.5 if HOST == "slow" else 0.15)
        with open(trial_dir / "who", "a") as file:
            file.write(HOST)
        with checkpoint.save(step=1) as folder:
            (folder / "weights").write_bytes(bytes([HOSTS.index(HOST)]) * 1_000_000)
        reporter.broadcast(float(n), 0)
        return {{"score": float(n), "host": HOSTS.index(HOST)}}
"""


class Day(Observer):
    """Lets things happen, one after the other.

    1. Every host has a trial. Then one's worker dies, another's cable is pulled; the others go on.
    2. The one that was cut off counts as lost, and its trial has begun elsewhere. What still runs there is let go
       on to its end, if it can. Then it is joined to the network again, and gets a new worker.
    3. It has its slot again: all go on that wait.
    """

    def __init__(self, pipes: Path, victim: int, cable: str) -> None:
        self.pipes, self.victim, self.cable = pipes, victim, cable
        #: Attempts that wait to go on, by host; the descriptor of the pipe that they read.
        self.waiting: dict[str, int] = {}
        self.ended: Counter[str] = Counter()
        self.is_day = self.is_back = False
        self.cut_off = ""

    def start(self, run: RunView) -> None:
        self.run = run

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        match event:
            case Started(trial_id, hosts=hosts):
                (host,) = hosts or ("",)
                self.wait(trial_id, host)
                if not self.is_day and len(self.waiting) == len(USED):
                    self.begin()
                elif self.is_day and trial_id == self.cut_off:
                    self.come_back()
                else:
                    self.let_go()
            case Finished(host=str(host)):
                self.ended[host] += 1
                self.let_go()
            case Lost(trial_id) if trial_id == self.cut_off and "steady" in self.waiting:
                self.go("steady")  # its trial needs a slot
            case SlotsChanged(hosts=hosts) if self.ended["cut"] and "cut" in (hosts or {}):
                self.is_back = True
                self.let_go()

    def wait(self, trial_id: str, host: str) -> None:
        pipe = self.pipes / f"{trial_id} on {host}"
        with suppress(FileExistsError):
            os.mkfifo(pipe)
        # For both: so it waits for nobody, and what is written stays until it is read.
        self.waiting[host] = os.open(pipe, os.O_RDWR)
        if not self.is_day and host == "cut":
            self.cut_off = trial_id

    def go(self, host: str) -> None:
        os.write(self.waiting.pop(host), b"\n")

    def begin(self) -> None:
        self.is_day = True
        subprocess.run(["ip", "link", "set", self.cable, "down"], check=True)
        os.kill(self.victim, signal.SIGKILL)
        self.zombie = self.waiting.pop("cut")
        del self.waiting["mortal"]
        self.let_go()

    def let_go(self) -> None:
        """Let everybody go on whose turn it is."""
        active = {trial.host: trial for trial in self.run.active.values()}
        for host in list(self.waiting) if self.is_day else ():
            number = active[host].number
            waits = number in LAST or active[host].trial_id == self.cut_off
            # As many have ended on the slow one as it takes to tell.
            waits |= host == "steady" and self.ended["steady"] > 0 and self.ended["slow"] < 3
            if self.is_back or not waits:
                self.go(host)

    def come_back(self) -> None:
        with suppress(ProcessLookupError):  # it has been ended
            ended = os.pidfd_open(int((self.pipes / "child on cut").read_text()))
            os.write(self.zombie, b"\n")
            poll = select.poll()
            poll.register(ended, select.POLLIN)
            assert poll.poll(20_000), "the attempt that was cut off doesn't end"
        subprocess.run(["ip", "link", "set", self.cable, "up"], check=True)
        self.ended["cut"] = 1
        os.close(os.open(self.pipes / "joined", os.O_WRONLY))


def run_here(runs: Path, observer: Observer) -> None:
    """Run the config of this folder, and print what is found."""
    # Time-outs are short here: what is cut off would else look like what dies as soon as it is launched.
    hosts.AT_ONCE_S = 0.0
    print_result(run(Experiment.of(load_config(Path("config.yaml"))), runs, observer).found)


@pytest.mark.parametrize("disk", ["own", "shared"])
def test_every_configuration_has_its_value_once_and_it_is_said_what_happened_to_whom(
    project: Project, tmp_path: Path, disk: str
) -> None:
    runs, pipes, foreign = (tmp_path / name for name in ("runs", "pipes", "foreign"))
    for made in (runs, pipes, foreign):
        made.mkdir()
    joined, over = Moment(pipes / "joined"), threading.Event()
    # No other Python is there everywhere that these tests are; what is asked is what it says of itself.
    (foreign / "sitecustomize.py").write_text(
        "import platform\n"
        "platform.python_version = lambda: '3.99.1'\n"
        "platform.python_version_tuple = lambda: ('3', '99', '1')\n"
    )
    project.write("user.py", TRAIN.format(pipes=str(pipes), hosts=HOSTS))
    grid = {"n": {"type": "categorical", "values": list(range(TRIALS))}}
    project.config(
        cluster={"kind": "address", "address": SCHEDULER, "connect_timeout_s": 60.0},
        search={"space": grid, "optimizer": {"name": "grid"}},
        checkpoints={"keep": "last"},
        limits={"max_time_s": 50.0},
    )
    seen = [str(pipes), str(foreign), *([str(runs)] if disk == "shared" else [])]
    with ExitStack() as stack:
        lan = stack.enter_context(closing(Lan(tmp_path / "lan", HOSTS, SETTINGS)))

        def start(name: str) -> subprocess.Popen[Any]:
            path = [foreign, ROOT] if name == "foreign" else [ROOT]
            return lan.worker(name, seen, path, size="60m" if name == "full" else "50%")

        workers = {name: start(name) for name in HOSTS}
        lan.wait_for_workers(len(HOSTS))

        def come_back() -> None:
            with suppress(AssertionError):  # it hasn't come so far
                joined.wait(workers["steady"])
                start("cut")
            over.wait()  # what a thread has started ends with it

        thread = threading.Thread(target=come_back)
        thread.start()
        stack.callback(thread.join)
        stack.callback(over.set)
        stack.callback(lambda: lan.end(workers["steady"]))
        day = f"Day(Path({str(pipes)!r}), {workers['mortal'].pid}, {lan.cable('cut')!r})"
        done = lan.run(f"{HERE}; run_here(Path({str(runs)!r}), {day})", project.path)
        assert done.returncode == 0, done.stderr
    (run_dir,) = runs.glob("*/*")

    # Every value once, and what lies beside it is of the attempt that it is from.
    assert trials_of(run_dir)["finished"] == TRIALS
    finished = {r["trial_id"]: r for r in records(run_dir, "Finished")}
    assert len(records(run_dir, "Finished")) == len(finished) == TRIALS
    assert sorted(r["value"] for r in finished.values()) == list(range(TRIALS))
    assert sorted(r["value"] for r in records(run_dir, "Reported")) == list(range(TRIALS))
    found = files(run_dir)
    for trial_id, record in finished.items():
        host = int(record["metrics"]["host"])
        assert record["host"] == HOSTS[host]
        assert found[f"{trial_id}/who"].decode() == HOSTS[host]
        weights = found[f"{trial_id}/checkpoint/step-000000001/weights"]
        assert weights == bytes([host]) * 1_000_000
    assert not list(run_dir.glob(".turn-*"))

    # Who had which trouble.
    told = json.loads((run_dir / "result.json").read_text())
    lost = {r["host"]: r["cause"] for r in records(run_dir, "Lost")}
    assert set(lost) == {"mortal", "cut"}
    for host, cause in lost.items():
        assert re.fullmatch(rf"its worker \S+ on {host} left the cluster", cause)
    started = [r["hosts"] for r in records(run_dir, "Started")]
    assert started.count(["cut"]) > 1, "it has had no trial since it is back"
    assert any(
        re.fullmatch(r"worker \S+ on foreign isn't used: Python 3\.99 there, .+", line)
        for line in said(run_dir)
    )
    assert "lost: 2 attempts: 1 on cut, 1 on mortal\n" in done.stdout
    (slow,) = [one for one in told["hosts"] if one["host"] == "slow"]
    assert slow["times"] > 1, (
        "its attempts take ten times as long, and with them whatever else there is"
    )
    assert (slow["times"] >= 3) == ("\nslow: slow: an attempt took " in done.stdout)
    failed = records(run_dir, "Failed")
    if disk == "shared":  # there is room enough for what is written there
        assert not failed
        return
    assert {r["host"] for r in failed} == {"full"}
    for record in failed:
        assert record["failure"]["message"].startswith("the disk of full is full: ")
    assert [r["host"] for r in records(run_dir, "SetAside")] == ["full"]
    assert f" of {len(failed)} on full, 0 of {TRIALS} elsewhere\n" in done.stdout
