"""An observer is a plugin: what is registered keeps the contract, and so does one of a user's."""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from dotrain import Observer, RunView, experiment, plugins
from dotrain.abc import Event, Finished, Instruction, Reported
from dotrain.config import ConfigError, load_config
from dotrain.errors import UsageError
from dotrain.report.live import LiveTable
from dotrain.report.plain import Plain
from dotrain.report.subject import Subject
from dotrain.report.tensorboard import TensorBoard
from dotrain.store import RunDir
from dotrain.testing import check_observer
from tests.conftest import Project
from tests.test_docs import blocks

SUBJECT = Subject("a search", "score", "max")
SEARCH: dict[str, Any] = {
    "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
    "num_trials": 3,
}
TRAIN = """\
def train(x, reporter):
    for step in range(2):
        reporter.broadcast(x + step, step=step)
    return x
"""


@pytest.mark.parametrize("name", sorted(plugins.registered(plugins.OBSERVERS)))
def test_every_registered_observer_keeps_the_contract(name: str) -> None:
    check_observer(plugins.load_plugin(plugins.OBSERVERS, name))


@pytest.mark.parametrize("display", [Plain, LiveTable])
def test_what_shows_the_progress_keeps_the_contract(display: type[Plain | LiveTable]) -> None:
    check_observer(lambda: display(SUBJECT, io.StringIO()))


class Raises(Observer):
    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        raise SystemExit(3)


class Writes(Observer):
    def start(self, run: RunView) -> None:
        self.run = run

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        if isinstance(event, Finished):
            self.run.trials[event.trial_id].params["seen"] = True


class Prints(Observer):
    def close(self) -> None:
        print("done")


class Breaks(Observer):
    """Reaches for what it isn't given."""

    def start(self, run: RunView) -> None:
        run._scheduler._optimizer.num_trials = 7


class Leaves(Observer):
    def start(self, run: RunView) -> None:
        # As long as this test takes.
        threading.Thread(target=LEFT.wait, name="forgotten").start()


class Presses(Observer):
    def on_interrupt(self) -> None:
        raise OSError("no terminal")


LEFT = threading.Event()


@pytest.mark.parametrize(
    ("observer", "fault"),
    [
        (Raises, "on_event raises SystemExit: 3"),
        (Writes, "on_event writes to t0"),
        (Prints, r"prints on stdout: 'done\\n"),
        (Breaks, "the run goes otherwise than without it"),
        (Leaves, "leaves behind the thread forgotten"),
        (Presses, "on_interrupt raises OSError: no terminal"),
    ],
)
def test_the_kit_notices(observer: Callable[[], Observer], fault: str) -> None:
    LEFT.clear()
    try:
        with pytest.raises(AssertionError, match=fault):
            check_observer(observer)
    finally:
        LEFT.set()


# ---- one of a user's own, from a config ----


@pytest.fixture
def toy(project: Project) -> Iterator[Project]:
    """A folder with the observer of the guide, in one file."""
    project.write("my_module.py", blocks("docs/plugins.md", "python")[3])
    project.write("user.py", TRAIN)
    path = list(sys.path)
    yield project
    sys.path[:] = path
    sys.modules.pop("my_module", None)


def table(result: Any, name: str = "reports.csv") -> list[dict[str, str]]:
    with open(result.run_dir / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_observer_of_the_guide_writes_what_the_journal_has_and_goes_on(toy: Project) -> None:
    config = {
        "search": SEARCH,
        "observers": [{"name": "my_module:Reports", "file": "all.csv"}],
        "cluster": {"kind": "inline"},
    }
    result = toy.run(TRAIN, **config)
    more = experiment.resume(result.run_dir, ["search.num_trials=5"], quiet=True)
    rows = table(more, "all.csv")
    journal = RunDir(more.run_dir).journal.read_text().splitlines()
    records = [record for record in map(json.loads, journal) if record["type"] == "Reported"]
    assert len(rows) == len(records) == 5 * 2
    for row, record in zip(rows, records, strict=True):
        assert (row["trial"], int(row["step"])) == (record["trial_id"], record["step"])
        assert float(row[more["metric"]]) == record["value"]


def test_the_observer_of_the_guide_keeps_the_contract(toy: Project) -> None:
    check_observer(plugins.load_plugin(plugins.OBSERVERS, "my_module:Reports", toy.path))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([{"name": "csv"}], "observers[0].name: unknown observer 'csv'"),
        ([{"name": "tensorbord"}], "did you mean 'tensorboard'?"),
        ([{"name": "my_module:Reports", "fil": "a"}], "unknown key; did you mean 'file'?"),
        ([{"name": "my_module:Reports", "file": 1}], "observers[0].file: expected text, got 1"),
        ([{"name": "my_module:csv"}], "is no subclass of dotrain.Observer"),
        ([{"file": "a"}], "observers[0].name: required key is missing"),
        (["tensorboard"], "observers[0]: expected a mapping, got 'tensorboard'"),
        ({"name": "tensorboard"}, "observers: expected a list, got a mapping"),
        ([{"name": "my_module:Reports", "token": "<not kept>"}], "--set observers=..."),
    ],
)
def test_an_observer_that_can_not_be_is_told_with_its_place(
    toy: Project, asked: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(toy.config(observers=asked))
    assert message in str(caught.value)


def test_a_wrong_method_of_an_observer_is_refused(project: Project) -> None:
    project.write(
        "wrong.py",
        """\
        from dotrain import Observer

        class Late(Observer):
            def on_event(self, event): ...
        """,
    )
    project.write("user.py", TRAIN)
    with pytest.raises(ConfigError, match=r"on_event\(self, event\) can't be called as on_event\("):
        load_config(project.config(observers=[{"name": "wrong:Late"}]))


def test_a_secret_of_an_observer_is_used_and_not_kept(project: Project) -> None:
    project.write(
        "mine.py",
        """\
        from dotrain import Observer

        class Logs(Observer):
            def __init__(self, *, api_key: str): self.api_key = api_key
            def start(self, run): (run.run_dir / "used").write_text(str(len(self.api_key)))
        """,
    )
    asked = [{"name": "mine:Logs", "api_key": "S3CRET"}]
    sections = {"search": SEARCH, "observers": asked, "cluster": {"kind": "inline"}}
    result = project.run(TRAIN, **sections)
    assert (result.run_dir / "used").read_text() == "6"
    for name in ("config.yaml", "journal.jsonl"):
        assert "S3CRET" not in (result.run_dir / name).read_text()
    with pytest.raises(ConfigError, match="was not kept; give the whole list again"):
        experiment.resume(result.run_dir, quiet=True)
    given = 'observers=[{name: "mine:Logs", api_key: "another"}]'
    experiment.resume(result.run_dir, [given], quiet=True)
    assert (result.run_dir / "used").read_text() == "7"


# ---- TensorBoard, which has a key of its own ----


def watching(project: Project, **keys: Any) -> list[type]:
    project.write("user.py", TRAIN)
    loaded = load_config(project.config(search=SEARCH, **keys))
    return [type(one) for one in loaded.observers]


def test_tensorboard_is_asked_for_by_its_key_or_by_its_name(project: Project) -> None:
    pytest.importorskip("tensorboard")
    by_name = [{"name": "tensorboard"}]
    simulated = {"kind": "simulated"}
    assert watching(project) == [TensorBoard]
    assert watching(project, tensorboard=True, observers=by_name) == [TensorBoard]
    assert watching(project, tensorboard=False) == []
    assert watching(project, cluster=simulated) == []
    assert watching(project, cluster=simulated, tensorboard=True) == [TensorBoard]
    assert watching(project, cluster=simulated, observers=by_name) == [TensorBoard]
    with pytest.raises(ConfigError, match="tensorboard: is false, and observers names it"):
        watching(project, tensorboard=False, observers=by_name)


# ---- from Python ----


class Counts(Observer):
    def __init__(self, *, times: int = 1) -> None:
        self.times, self.reports = times, 0

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        self.reports += isinstance(event, Reported) * self.times


def train(reporter: Any) -> float:
    reporter.broadcast(0.5, step=0)
    return 1.0


def test_lagom_takes_observers_by_name_and_by_value(project: Project) -> None:
    counts = Counts(times=3)
    where = {"cluster": {"kind": "inline"}, "runs_dir": project.path, "quiet": True}
    place = f"{__name__}:Counts"
    experiment.lagom(train, observers=[counts, {"name": place, "times": 2}, Counts], **where)
    assert counts.reports == 3
    for wrong, message in [
        ("nobody", "unknown observer 'nobody'"),
        ({"name": place, "time": 2}, "unknown key; did you mean 'times'"),
        (object(), "expected a name, a mapping or a dotrain.Observer"),
    ]:
        with pytest.raises(UsageError, match=message):
            experiment.lagom(train, observers=[wrong], **where)
