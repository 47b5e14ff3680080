"""An executor is a plugin: what is registered keeps the contract, and so does one of a user's."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from dotrain import plugins
from dotrain.config.catalogue import catalogue
from dotrain.config.cluster import make_executor
from dotrain.config.json_schema import config_schema
from dotrain.config.source import Source
from dotrain.config.where import Cluster
from dotrain.core.events import Event, Failed, Finished, Lost, Reported
from dotrain.executors.base import AbstractExecutor, Post
from dotrain.executors.inline import InlineExecutor
from dotrain.testing import check_executor
from dotrain.training.program import Program
from tests.conftest import Project
from tests.folder import Folder
from tests.test_docs import blocks

SEARCH: dict[str, Any] = {
    "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
    "num_trials": 4,
}
LOCAL_CLUSTER = {
    "kind": "distributed.LocalCluster",
    "options": {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"},
}


def executor_of(section: dict[str, Any], project: Project) -> AbstractExecutor:
    source = Source.of_call({"cluster": section}, {})
    executor, problems = make_executor(Cluster(**section), source, project.path)
    assert executor is not None, problems
    return executor


@pytest.fixture
def toy(project: Project) -> Iterator[Project]:
    """A folder with the executor of the guide, in one file."""
    project.write("my_module.py", blocks("docs/plugins.md", "python")[-2])
    path = list(sys.path)
    yield project
    sys.path[:] = path
    sys.modules.pop("my_module", None)


@pytest.mark.parametrize("name", sorted(plugins.registered(plugins.EXECUTORS)))
def test_every_registered_executor_keeps_the_contract(
    project: Project, name: str, request: pytest.FixtureRequest
) -> None:
    section: dict[str, Any] = {"kind": name}
    if name == "address":
        section["address"] = request.getfixturevalue("dask_address")
    if name == plugins.DOTTED:
        section = LOCAL_CLUSTER
    elif name in ("local", "simulated"):
        section["workers"] = 2
    check_executor(lambda: executor_of(section, project))


def test_an_executor_of_a_users_own_keeps_it_too(toy: Project) -> None:
    section = {"kind": "my_module:FreshProcess", "workers": 2, "options": {"grace_s": 1.0}}
    check_executor(lambda: executor_of(section, toy))


@pytest.mark.parametrize("kind", ["my_module:FreshProcess", "fresh"])
def test_a_config_names_it_by_its_place_or_its_registered_name(
    toy: Project, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = plugins.entry_points

    def entry_points(*, group: str) -> list[EntryPoint]:
        mine = EntryPoint("fresh", "my_module:FreshProcess", group)
        return [*real(group=group), *([mine] if group == plugins.EXECUTORS else [])]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    plugins.registered.cache_clear()
    try:
        result = toy.run(
            """
            import os

            def train(x, reporter):
                reporter.broadcast(x, 0)
                return {"score": x, "pid": os.getpid()}
            """,
            search=SEARCH,
            cluster={"kind": kind, "workers": 2},
        )
    finally:
        plugins.registered.cache_clear()
    assert result.status == "finished"
    assert result.summary["simulated"] is False
    assert [trial.final_metric for trial in result.trials] == [
        trial.params["x"] for trial in result.trials
    ]
    assert len({trial.metrics["pid"] for trial in result.trials}) == 4


def test_its_keys_are_checked_where_they_stand(toy: Project) -> None:
    folder = Folder(toy.path)
    folder.write("t.py", "def train(): return 1.0\n")
    head = "train: t.py:train\nmetric: m\ndirection: max\n"
    text = head + 'cluster: {kind: "my_module:FreshProcess", options: {grace: 1}, address: a}\n'
    assert folder.problems(text) == [
        "4:53: cluster.options.grace: unknown key; did you mean 'grace_s'?",
        "4:64: cluster.address: goes with kind 'address' only, not 'my_module:FreshProcess'",
    ]
    text = head + 'cluster: {kind: "my_module:Options"}\n'
    assert folder.problems(text) == [
        "4:17: cluster.kind: executor 'my_module:Options' is no subclass of "
        "dotrain.AbstractExecutor"
    ]


@pytest.mark.parametrize(
    "section",
    [
        {"kind": "inline", "connect_timeout_s": 3.0, "options": {}, "address": ""},
        {"kind": "local", "options": {}, "address": None, "workers": None},
        {"kind": "simulated", "connect_timeout_s": 3.0, "address": None},
        {"kind": "a.B", "options": {"any": ["thing"]}, "workers": 2, "address": ""},
    ],
)
def test_what_is_left_empty_is_allowed_for_every_kind(
    folder: Folder, section: dict[str, Any]
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    data = {"train": "t.py:train", "metric": "m", "direction": "max", "cluster": section}
    jsonschema.Draft202012Validator(config_schema(catalogue())).validate(data)
    assert folder.load(json.dumps(data)).settings.cluster.kind == section["kind"]


class Forgetful(InlineExecutor):
    """Loses every tenth report."""

    def start(self, program: Program, post: Post) -> None:
        seen = 0

        def some(event: Event) -> None:
            nonlocal seen
            seen += isinstance(event, Reported)
            if not (isinstance(event, Reported) and seen % 10 == 0):
                post(event)

        super().start(program, some)


class Blaming(InlineExecutor):
    """Lets the driver's errors come up through the train function."""

    def _report(self, event: Any) -> None:
        self._send(event)


class Careless(InlineExecutor):
    """Takes code that can't be loaded for a worker that has died."""

    def start(self, program: Program, post: Post) -> None:
        def worded(event: Event) -> None:
            if isinstance(event, Failed) and event.failure.message.startswith("UnpicklingError"):
                event = Lost(event.trial_id, event.attempt, "it has died")
            post(event)

        super().start(program, worded)


class Silent(InlineExecutor):
    """Never says that an attempt has ended."""

    def start(self, program: Program, post: Post) -> None:
        super().start(program, lambda event: None if isinstance(event, Finished) else post(event))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Careless, "a function can't be loaded"),
        (Silent, "the last event of an attempt is missing"),
        (Forgetful, "reports are lost"),
        (Blaming, "a function sees it|is the function's|a rule's error becomes"),
    ],
)
def test_the_kit_notices_what_is_promised_and_not_kept(
    make: Callable[[], AbstractExecutor], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if make is Silent:
        monkeypatch.setattr("dotrain.testing.executors._ENOUGH_S", 1.0)
    with pytest.raises(AssertionError, match=message):
        check_executor(make)


@pytest.mark.slow
def test_the_kit_notices_a_death_that_nobody_hears_of(
    toy: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.write(
        "deaf_module.py",
        """
        from my_module import FreshProcess

        from dotrain.core.events import Lost


        class Deaf(FreshProcess):
            def start(self, program, post):
                super().start(program, lambda e: None if isinstance(e, Lost) else post(e))
        """,
    )
    monkeypatch.setattr("dotrain.testing.executors._ENOUGH_S", 20.0)
    section = {"kind": "deaf_module:Deaf", "workers": 2}
    with pytest.raises(AssertionError, match="the last event of an attempt is missing"):
        check_executor(lambda: executor_of(section, toy))
    sys.modules.pop("deaf_module", None)
