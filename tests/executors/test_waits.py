"""Every wait for workers has a limit, and says what it waits for."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core.events import Event, SlotsChanged
from dotrain.core.observer import Observer
from dotrain.executors.dask import wire
from dotrain.executors.dask.holding import Holder, held_text
from dotrain.runs.definition import Experiment
from dotrain.runs.session import run
from tests.cluster import at, cluster
from tests.conftest import ROOT, Moment, Project, said, start


class Told(Observer):
    """Opens a pipe when something is said."""

    def __init__(self, words: str, pipe: Path) -> None:
        self._words, self._pipe = words, pipe

    def on_event(self, event: Event, *rest: Any) -> None:
        if isinstance(event, SlotsChanged) and self._words in (event.why or ""):
            self._opened = os.open(self._pipe, os.O_RDWR)  # waits for no reader


def test_a_worker_that_hangs_is_named_and_the_others_go_on(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "ANSWER_S", 0.5)
    monkeypatch.setattr(wire, "_TOGETHER_S", 0.5)
    monkeypatch.setattr(wire, "_ENDING_S", 0.5)
    told = tmp_path / "told"
    os.mkfifo(told)
    project.write("user.py", f"def train():\n    open('{told}').close()\n    return 1.0\n")
    with cluster(tmp_path / "cluster") as found:
        hanging = found.worker("--name", "hanging")
        found.worker()
        found.wait_for(2)
        hanging.send_signal(signal.SIGSTOP)
        asked = Experiment.of(load_config(project.config(cluster=at(found))))
        observer = Told("isn't used yet", told)
        result = run(asked, project.path / "runs", observer)
    assert result.summary["trials"]["finished"] == 1
    assert "it has not answered for 0.5 s; it is asked again" in " ".join(said(result))


@pytest.mark.slow
def test_nobody_but_a_worker_that_hangs_ends_with_its_name(
    project: Project, tmp_path: Path
) -> None:
    with cluster(tmp_path / "cluster") as found:
        hanging = found.worker("--name", "hanging")
        found.wait_for(1)
        hanging.send_signal(signal.SIGSTOP)
        project.write("user.py", "def train(): return 1.0")
        project.config(cluster=at(found, connect_timeout_s=1.0))
        done = project.cli("run", "config.yaml", "--quiet")
    assert done.returncode == 3
    assert "has not answered so far" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_worker_that_can_t_start_processes_is_named(project: Project, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import errno, tempfile\n"
        "def refuse(*arguments, **options):\n"
        "    raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "tempfile.NamedTemporaryFile = refuse\n"
    )
    with cluster(tmp_path / "cluster") as found:
        found.worker(PYTHONPATH=os.pathsep.join([str(broken), str(ROOT)]))
        found.wait_for(1)
        project.write("user.py", "def train(): return 1.0")
        project.config(cluster=at(found, connect_timeout_s=8.0))
        done = project.cli("run", "config.yaml", "--quiet")
    assert done.returncode == 3
    assert "isn't used: it can't start processes there ([Errno 28] No space" in done.stderr


def plugins(dask_scheduler: Any = None, dask_worker: Any = None) -> list[str]:
    found = dask_worker.plugins if dask_worker else dask_scheduler.worker_plugins
    return [name for name in found if name.startswith("dotrain")]


@pytest.mark.slow
def test_a_killed_driver_leaves_nothing_for_workers_that_join_later(
    project: Project, tmp_path: Path
) -> None:
    project.write(
        "user.py",
        f"""
        import threading

        def train():
            open("{tmp_path}/began", "w").close()
            threading.Event().wait()
        """,
    )
    began = Moment(tmp_path / "began")
    with cluster(tmp_path / "cluster") as found:
        found.worker()
        project.config(cluster=at(found))
        process = start(
            [sys.executable, "-m", "dotrain", "run", "config.yaml", "--quiet"], cwd=project.path
        )
        began.wait(process)
        process.kill()
        process.wait()
        # One that has never heard of dotrain.
        empty = tmp_path / "empty"
        (empty / "dotrain").mkdir(parents=True)
        (empty / "dotrain" / "__init__.py").write_text("raise ImportError('no such thing')")
        found.worker("--name", "later", PYTHONPATH=str(empty))
        found.wait_for(2)
        with found.client() as client:
            assert client.run_on_scheduler(plugins) == []
            assert client.submit(sum, [1, 2], workers=["later"]).result(timeout=60) == 3
        # And the run's own worker takes the next run.
        result = project.run("def train(): return 1.0", cluster=at(found))
    assert result.best is not None
    assert any("isn't used: it can't load dotrain" in line for line in said(result))


@pytest.mark.slow
def test_a_busy_cluster_says_who_holds_it_and_waiting_gets_it(
    project: Project, tmp_path: Path
) -> None:
    project.write(
        "user.py",
        f"""
        def train(held):
            if held:
                open("{tmp_path}/began", "w").close()
                open("{tmp_path}/over").close()
            return 1.0
        """,
    )
    began = Moment(tmp_path / "began")
    os.mkfifo(tmp_path / "over")
    with cluster(tmp_path / "cluster") as found:
        found.worker()
        where = at(found, connect_timeout_s=1.0)
        project.config(
            name="first", cluster={**where, "connect_timeout_s": 60.0}, hparams={"held": 1}
        )
        command = [sys.executable, "-m", "dotrain", "run", "config.yaml"]
        first = start([*command, "--quiet"], cwd=project.path)
        began.wait(first)
        project.config(name="second", cluster=where, hparams={"held": 0})
        refused = project.cli("run", "config.yaml", "--quiet")
        assert refused.returncode == 3
        held = "1 worker is held by run first/"
        assert held in refused.stderr
        assert f"(pid {first.pid} on " in refused.stderr
        assert "--wait waits for them" in refused.stderr

        second = start([*command, "--wait"], cwd=project.path, stderr=subprocess.PIPE, text=True)
        assert second.stderr is not None
        line = next(line for line in second.stderr if "held by" in line)
        assert held in line
        (tmp_path / "over").write_text("")
        second.communicate(timeout=60)
        assert (first.wait(60), second.returncode) == (0, 0)


def test_who_holds_what_is_said_in_a_line() -> None:
    one = Holder("a", "digits/1", 7, "node-a", 0.0)
    text = held_text([one, one, Holder("b", "mnist/2", 8, "node-b", 0.0)])
    assert text.startswith("2 workers are held by run digits/1 since ")
    assert text.endswith("(pid 8 on node-b)")
    assert "(pid 7 on node-a); 1 worker is held by run mnist/2 since" in text


class Client:
    """Some workers are reached, one's connection breaks, one can't load what it is asked."""

    async def run(self, function: Any, *, workers: list[str], on_error: str) -> dict[str, Any]:
        broken = OSError("Address removed.")
        answers = {"well": "all right", "gone": broken, "old": ImportError("no dotrain")}
        if workers == ["gone"]:
            raise broken
        return {worker: answers[worker] for worker in workers}


def test_a_connection_that_breaks_tells_nothing_of_what_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "_BROKEN_S", 0.0)
    host: Any = SimpleNamespace(program=SimpleNamespace(token="t"))
    asked = wire.Wire(Client(), host)._each(["well", "gone", "old"], print)
    found = asyncio.run(asked)
    assert found["well"] == "all right"
    assert isinstance(found["gone"], wire.NoAnswer)
    assert str(found["gone"]) == "the connection to it broke (Address removed.)"
    assert isinstance(found["old"], ImportError)
