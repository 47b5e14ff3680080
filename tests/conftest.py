"""What several tests share: running a config in a directory of its own, and a Dask cluster.

Nothing that takes long is imported here, or by any test file while it is collected.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import Phase, settings

from dotrain.config import load_config
from dotrain.core.observer import Observer
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from dotrain.store import read_journal
from dotrain.training import rehearsal
from tests.folder import TRAIN, Folder
from tests.warm import Warm

ROOT = Path(__file__).resolve().parents[1]

# For the children too: every driver of every test looks at its state after every event.
os.environ["DOTRAIN_VALIDATE"] = "1"

# Tests run beside each other: threads of OpenMP that spin while they wait take the cores from those that compute.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# No example fails for how long it takes: a busy machine is no fault.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

# For benchmarks/mutants.py: the same examples each time, and the first that fails is enough.
settings.register_profile(
    "mutants",
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Refuse what would make every run of the tests begin with seconds of imports."""
    before = set(sys.modules)
    report = yield
    for name in sorted({"tensorflow", "keras"} & (set(sys.modules) - before)):
        report.outcome = "failed"
        report.longrepr = f"it imports {name} while it is collected; see tests/late.py"
    return report


#: The kernel's option for a signal at the parent's death.
_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a process that ends with this one, however this one ends."""
    return subprocess.Popen(command, preexec_fn=_end_with_parent, **options)


class Moment:
    """A moment in another process: when it opens this named pipe for writing."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        # Stays open: it would hold up whoever opens the other end later.
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wait(self, process: subprocess.Popen[Any]) -> None:
        """Wait for it; that the process ends before is an error."""
        ended = os.pidfd_open(process.pid)
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(ended, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll()}
        os.close(ended)
        assert self._reader in ready, "the process has ended before"


#: What the interpreter has looked at when it began.
_PYTHONPATH = os.environ.get("PYTHONPATH")


@cache
def warm() -> Warm:
    """The server that forks commands, started with the first of them."""
    return Warm(start, ROOT)


def pytest_sessionfinish() -> None:
    if warm.cache_info().currsize:
        warm().close()


@dataclass
class Project:
    """A user's folder: a train function, a config, and the ways to run it."""

    path: Path

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        written_s = file.stat().st_mtime if file.exists() else None
        file.write_text(textwrap.dedent(text))
        if written_s is not None:
            # As if typed: Python tells stale bytecode by the size and by whole seconds.
            os.utime(file, (written_s + 2, written_s + 2))
        return file

    def config(self, **sections: Any) -> Path:
        """Write a config; JSON is YAML."""
        one = {} if "metrics" in sections else {"metric": "score", "direction": "max"}
        data = {"train": "user.py:train", **one, **sections}
        return self.write("config.yaml", json.dumps(data))

    def run(self, function: str = "", /, **sections: Any) -> Result:
        """Run a train function in this process, with whatever executor the config names."""
        if function:
            self.write("user.py", function)
        asked = Experiment.of(load_config(self.config(**sections)))
        return run(asked, self.path / "runs", Observer())

    def cli(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own, forked if nothing is said of it."""
        if not options and os.environ.get("PYTHONPATH") == _PYTHONPATH:
            return warm().run(arguments, cwd=self.path, timeout_s=500)
        return subprocess.run(
            [sys.executable, "-m", "dotrain", *arguments],
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
            **options,
        )

    def moment(self, name: str) -> Moment:
        """Return the moment at which somebody calls ``open(name, "w")`` in this folder."""
        return Moment(self.path / name)

    def log(self, result: Result, trial_id: str = "t0000") -> str:
        return (result.run_dir / "trials" / trial_id / "output.log").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A folder with a name that careless code trips over."""
    path = tmp_path / 'it\'s a "folder" with ünïcode'
    path.mkdir()
    return Project(path)


@pytest.fixture(autouse=True)
def forgotten_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests call their modules alike and come in any order: each begins without those of others."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    folders = str(tmp_path_factory.getbasetemp())
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folders):
            del sys.modules[name]


#: How the names of variables begin that `torchrun` and what starts ranks in its place set.
_OF_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")


@pytest.fixture(autouse=True)
def no_ranks_variables() -> Iterator[None]:
    """A trainer that has started ranks in this process leaves their variables, by which the next one would join them."""
    before = {name for name in os.environ if name.startswith(_OF_RANKS)}
    yield
    for name in [name for name in os.environ if name.startswith(_OF_RANKS)]:
        if name not in before:
            del os.environ[name]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder with a train function that takes anything."""
    folder = Folder(tmp_path)
    folder.write("t.py", TRAIN)
    return folder


@pytest.fixture
def rehearsed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rehearse studies in this process, which has the framework already; a new one imports it."""

    def run_here(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        _, _, _, module, *arguments = command
        assert module == rehearsal.__name__
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", [module, *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(options["input"])))
            rehearsal.main()
        return subprocess.CompletedProcess(command, 0, b"", b"")

    monkeypatch.setattr(rehearsal, "subprocess", SimpleNamespace(run=run_here))


@pytest.fixture(scope="session")
def dask_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler with two workers, started by hand as a user would."""
    from tests.cluster import cluster

    with cluster(tmp_path_factory.mktemp("dask") / "cluster") as found:
        found.worker("--nworkers", "2", nanny=True)
        found.wait_for(2)
        yield found.address


@pytest.fixture(params=["inline", "local", "address"])
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Every kind of executor that runs real functions."""
    return make_cluster(request.param, request)


def make_cluster(kind: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    if kind == "address":
        return {"kind": "address", "address": request.getfixturevalue("dask_address")}
    return {"kind": kind} if kind == "inline" else {"kind": kind, "workers": 2}


def said(result: Result) -> list[str]:
    """What the driver has said of workers, in lines."""
    records = read_journal(result.run_dir / "journal.jsonl")
    return [record["why"] for record in records if record.get("why")]
