"""Two workers on two hosts, as far as anybody can tell, one of which is broken."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core.events import Event, Failed
from dotrain.core.instructions import Launch
from dotrain.core.observer import Observer
from dotrain.report.result import result_lines
from dotrain.results import SearchResult
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.store import read_journal
from tests.cluster import cluster
from tests.conftest import ROOT, Project

pytestmark = pytest.mark.slow

#: Each host's name, and where it listens.
HOSTS = {"node-a": "127.0.0.1", "node-b": "127.0.0.2"}
SPACE = {"x": {"type": "float", "range": [0.0, 1.0]}}


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler; only one of its hosts has the module `rare`."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "installed").mkdir()
    (folder / "installed" / "rare.py").write_text("ANSWER = 42\n")
    (folder / "name.py").write_text(
        "import os, socket\nsocket.gethostname = lambda: os.environ['NODE']\n"
    )
    paths = {"node-a": f"{ROOT}{os.pathsep}{folder / 'installed'}"}
    with cluster(folder / "cluster") as found:
        for name, host in HOSTS.items():
            named = ["--preload", str(folder / "name.py")]
            found.worker(*named, host=host, NODE=name, PYTHONPATH=paths.get(name, str(ROOT)))
        found.wait_for(2)
        yield found.address


class Until(Observer):
    """Tells the first trial of the sound host when a failure of the other is followed by no launch, or the tenth has come."""

    def __init__(self, pipe: Any) -> None:
        self._pipe, self._failed = pipe, 0

    def on_event(self, event: Event, instructions: Any, time_s: float) -> None:
        if isinstance(event, Failed):
            self._failed += 1
            goes_on = any(isinstance(one, Launch) for one in instructions)
            if not goes_on or self._failed == 10:
                self._pipe.write(b".")


def search(
    project: Project,
    address: str,
    function: str,
    trials: int,
    observer: Observer | None = None,
    **sections: Any,
) -> Result:
    project.write("user.py", function)
    config = project.config(
        search={"space": SPACE, "num_trials": trials},
        cluster={"kind": "address", "address": address, "workers": 2},
        **sections,
    )
    asked = Experiment.of(load_config(config))
    return run(asked, project.path / "runs", observer or Observer())


def failed_attempts(result: Result) -> list[dict[str, Any]]:
    records = read_journal(result.run_dir / "journal.jsonl")
    return [record for record in records if record["type"] == "Failed"]


def test_ten_failures_of_one_host_before_the_other_has_ended_a_trial_burn_nothing(
    project: Project, two_hosts: str
) -> None:
    """Fault 2 as it was seen: the run ended within 0.3 s, with ten configurations burnt."""
    pipe = project.path / "first may end"
    os.mkfifo(pipe)
    with open(pipe, "rb+", buffering=0) as end_of_first:
        result = search(
            project,
            two_hosts,
            f"""
            import os

            def train(x, trial_dir):
                if os.environ["NODE"] == "node-b":
                    raise OSError("this host has no such device")
                try:
                    (trial_dir.parent / "first").touch(exist_ok=False)
                except FileExistsError:
                    return x
                with open({str(pipe)!r}, "rb") as waits:
                    waits.read(1)
                return x
            """,
            20,
            observer=Until(end_of_first),
        )
    assert (result.status, result.summary["trials"]["failed"]) == ("finished", 0)
    failed = failed_attempts(result)
    assert len(failed) <= 4
    assert {record["host"] for record in failed} == {"node-b"}
    told = [r for r in read_journal(result.run_dir / "journal.jsonl") if r["type"] == "SetAside"]
    assert [(record["host"], record["back"]) for record in told] == [("node-b", False)]
    (tried,) = result.summary["tried_elsewhere"]
    assert tried["where"] == [
        {"host": "node-b", "failed": len(failed), "ended": len(failed)},
        {"host": None, "failed": 0, "ended": 20},
    ]
    assert isinstance(result.found, SearchResult)
    text = "\n".join(result_lines(result.found))
    assert f"    {len(failed)} of {len(failed)} on node-b, 0 of 20 elsewhere\n" in text


def test_a_package_that_is_missing_on_one_host_burns_nothing(
    project: Project, two_hosts: str
) -> None:
    result = search(
        project,
        two_hosts,
        """
        from importlib import import_module

        rare = import_module("rare")

        def train(x):
            return x * rare.ANSWER
        """,
        20,
    )
    assert (result.status, result.summary["trials"]["failed"]) == ("finished", 0)
    failed = failed_attempts(result)
    assert {record["host"] for record in failed} <= {"node-b"}
    assert len(failed) <= 4


def test_a_host_on_which_attempts_die_burns_nothing(project: Project, two_hosts: str) -> None:
    """Each was tried there up to three times, and ten that had failed so ended the run."""
    result = search(
        project,
        two_hosts,
        """
        import os, signal

        def train(x):
            if os.environ["NODE"] == "node-b":
                os.kill(os.getpid(), signal.SIGKILL)
            return x
        """,
        20,
    )
    assert (result.status, result.summary["trials"]["failed"]) == ("finished", 0)
    records = read_journal(result.run_dir / "journal.jsonl")
    lost = [record for record in records if record["type"] == "Lost"]
    assert {(record["host"], record["died"]) for record in lost} == {("node-b", "process")}
    assert len(lost) <= 4
    assert all(trial.attempt <= 2 for trial in result.trials)


def test_what_fails_on_both_hosts_is_the_functions(project: Project, two_hosts: str) -> None:
    result = search(
        project, two_hosts, 'def train(x):\n    raise ValueError(f"{x} is no good")\n', 40
    )
    assert (result.status, result.summary["trials"]["failed"]) == ("failed", 10)
    failed = failed_attempts(result)
    assert len(failed) <= 12
    assert {record["host"] for record in failed} == set(HOSTS)
