"""The processes behind an attempt may die, too, or be made in another way; runs come to the same end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Project

SEARCH: dict[str, Any] = {
    "space": {"n": {"type": "categorical", "values": [0, 1, 2, 3, 4, 5]}},
    "optimizer": {"name": "grid"},
}
LOCAL = {"kind": "local", "workers": 2}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Any:
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_keeper_that_is_killed_costs_its_attempt_one_try(project: Project) -> None:
    result = project.run(
        """
        import os, signal, threading

        def train(n, trial_dir):
            if n == 2 and not (trial_dir / "again").exists():
                (trial_dir / "again").touch()
                os.kill(os.getppid(), signal.SIGKILL)
                threading.Event().wait()
            return n
        """,
        search=SEARCH,
        cluster=LOCAL,
    )
    assert result.summary["trials"]["finished"] == 6, result.summary
    assert [trial.losses for trial in result.trials] == [0, 0, 1, 0, 0, 0]
    assert any("with the one that had started it" in line.what for line in result.trials[2].story)


def test_a_fork_server_that_is_killed_costs_nothing(project: Project) -> None:
    result = project.run(
        """
        import os, signal, threading

        import psutil

        def train(n, trial_dir):
            server = psutil.Process(psutil.Process(os.getppid()).ppid())
            if n == 1:
                server.kill()
            if n == 4 and not (trial_dir / "again").exists():
                (trial_dir / "again").touch()
                os.kill(os.getppid(), signal.SIGKILL)  # so that a new server is asked for a keeper
                threading.Event().wait()
            return n
        """,
        search=SEARCH,
        cluster={"kind": "local", "workers": 1},
    )
    assert result.summary["trials"]["finished"] == 6, result.summary
    assert [trial.losses for trial in result.trials] == [0, 0, 0, 0, 1, 0]


def test_a_module_that_can_not_be_imported_leaves_the_log_that_messages_name(
    project: Project,
) -> None:
    result = project.run(
        "from json import no_such_name\n\ndef train():\n    return 1\n", cluster=LOCAL
    )
    (trial,) = result.trials
    assert trial.error is not None
    assert "no_such_name" in trial.error.message
    assert (result.run_dir / "trials" / trial.trial_id / "output.log").exists()


@pytest.mark.parametrize("method", ["fork", "fork, by each attempt", "spawn"])
def test_code_that_changes_meanwhile_is_unpacked_once_and_removed(
    project: Project, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setenv("DOTRAIN_START_METHOD", method.split(",")[0])
    thread = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
    project.write("helper.py", "VALUE = 7\n")
    project.write(
        "user.py",
        f"""
        import os, signal, threading

        import psutil

        import helper

        {thread if "each" in method else ""}

        def train(n, trial_dir):
            if n == 0 and not (trial_dir / "again").exists():
                (trial_dir / "again").touch()
                with open(helper.__file__, "w") as file:
                    file.write("VALUE = 8\\n")
                psutil.Process(os.getppid()).parent().kill()
                os.kill(os.getppid(), signal.SIGKILL)
                threading.Event().wait()
            (trial_dir / "file").write_text(helper.__file__)
            return helper.VALUE
        """,
    )
    result = project.run(search=SEARCH, cluster={"kind": "local", "workers": 1})
    assert {trial.final_metric for trial in result.trials} == {7}
    trials = result.run_dir / "trials"
    folders = {Path(file.read_text()).parent for file in trials.glob("*/file")}
    assert len(folders) == 1
    assert project.path not in folders
    assert not folders.pop().exists()


def test_an_attempt_that_stops_itself_is_noticed_and_tried_again(project: Project) -> None:
    result = project.run(
        """
        import os, signal

        def train(n, trial_dir):
            if n == 0 and not (trial_dir / "again").exists():
                (trial_dir / "again").touch()
                os.kill(os.getpid(), signal.SIGSTOP)
            return n
        """,
        search=SEARCH,
        cluster=LOCAL,
    )
    assert result.summary["trials"]["finished"] == 6, result.summary
    assert result.trials[0].losses == 1
    assert any("stopped" in line.what for line in result.trials[0].story), result.trials[0].story


def test_an_attempt_without_a_sign_of_life_is_ended_and_tried_again(project: Project) -> None:
    result = project.run(
        """
        import threading

        def train(n, trial_dir):
            if n == 3 and not (trial_dir / "again").exists():
                (trial_dir / "again").touch()
                threading.Event().wait()
            return n
        """,
        search=SEARCH,
        cluster=LOCAL,
        limits={"silent_s": 1},
    )
    assert result.summary["trials"]["finished"] == 6, result.summary
    assert [trial.losses for trial in result.trials] == [0, 0, 0, 1, 0, 0]
    said = "it computed, read and wrote nothing for 1 s (limits.silent_s: 1)"
    assert any(said in line.what for line in result.trials[3].story), result.trials[3].story


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where no process can be forked safely."""
    monkeypatch.setenv("DOTRAIN_START_METHOD", "spawn")


@pytest.mark.usefixtures("spawned")
def test_all_goes_without_a_fork(project: Project) -> None:
    project.write(
        "early.py",
        """
        from dotrain import AbstractEarlyStop

        class AtTwo(AbstractEarlyStop):
            def earlystop_check(self, to_check, finalized_trials, direction):
                return {i: "step 2" for i, t in to_check.items() if t.last_step >= 2}
        """,
    )
    result = project.run(
        """
        import itertools, os, random, signal

        IMPORTED_BY = os.getpid()

        def train(n, reporter, trial_dir):
            assert IMPORTED_BY == os.getpid()
            if n == 1 and not (trial_dir / "again").exists():
                (trial_dir / "again").touch()
                os.kill(os.getpid(), signal.SIGSEGV)
            if n == 2:
                raise ValueError("not this one")
            if n == 3:
                for step in itertools.count():
                    reporter.broadcast(n, step)
            return random.random()
        """,
        search={**SEARCH, "early_stop": {"name": "early:AtTwo"}},
        cluster=LOCAL,
    )
    assert result.summary["trials"] == {
        "total": 6,
        "finished": 4,
        "stopped": 1,
        "diverged": 0,
        "failed": 1,
    }
    assert result.trials[1].losses == 1


@pytest.mark.usefixtures("spawned")
def test_a_group_goes_without_a_fork(project: Project) -> None:
    from tests.distribution.conftest import STRATEGY

    project.write("ranks.py", STRATEGY)
    result = project.run(
        """
        def train(n, dist_strategy):
            with dist_strategy() as seat:
                return n if seat.rank == 0 else -1
        """,
        search=SEARCH,
        distribution={"strategy": "ranks:Ranks", "workers": 2},
        cluster=LOCAL,
    )
    assert [trial.final_metric for trial in result.trials] == [0, 1, 2, 3, 4, 5]
