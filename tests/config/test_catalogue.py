"""What can be named in a config: found, described, and broken ones told apart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from dotrain import plugins
from dotrain.config import ConfigError, load_config
from dotrain.config.catalogue import Entry, catalogue, options_of, type_text
from dotrain.config.json_schema import config_schema
from dotrain.config.writing import to_yaml
from dotrain.report.plugins import print_plugins
from dotrain.space import DOMAINS
from tests.conftest import Project
from tests.folder import Folder

PLUGINS = '''\
from collections.abc import Callable
from typing import Annotated, Literal

from annotated_types import Ge

from dotrain import AbstractOptimizer

print("loaded")


class Base(AbstractOptimizer):
    def initialize(self): ...

    def get_suggestion(self, trial=None): ...


class Mine(Base):
    """Look [here] first,
    then elsewhere.

    Args:
        depth: How deep, in steps;
            the deeper the slower.
        way: Which way.

    Returns:
        nothing: An entry of another section.
    """

    def __init__(
        self,
        *,
        depth: Annotated[int, Ge(1)],
        way: Literal["left", "right"] = "left",
        places: tuple[int, ...] = (1, 2),
        **more,
    ): ...


class Odd(Base):
    def __init__(self, *, hook: Callable[[], None] | None = None): ...


class Unclear(Base):
    def __init__(self, *, hook: "NowhereToBeFound" = None): ...
'''


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.startswith("user_")]:
        del sys.modules[name]


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Entry]:
    """What is found when somebody else's package registers sound and broken optimizers."""
    (tmp_path / "user_theirs.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(tmp_path)
    real = plugins.entry_points
    names = {
        "mine": "user_theirs:Mine",
        "odd": "user_theirs:Odd",
        "unclear": "user_theirs:Unclear",
        "gone": "user_nowhere:X",
        "asha": "user_theirs:Mine",
    }

    def entry_points(*, group: str) -> list[EntryPoint]:
        more = names if group == plugins.OPTIMIZERS else {}
        return [*real(group=group), *(EntryPoint(n, v, group) for n, v in more.items())]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    return {f"{entry.package}:{entry.name}": entry for entry in catalogue()}


def test_everything_that_is_ours_is_found_and_described() -> None:
    found = [entry for entry in catalogue() if entry.package == "dotrain"]
    assert {entry.kind: 0 for entry in found}.keys() == {
        *("optimizer", "early-stop rule", "strategy", "ablator", "cluster", "observer")
    }
    assert {"asha", "median", "multi_worker_mirrored", "pairs", "simulated"} <= {
        entry.name for entry in found
    }
    for entry in found:
        assert not entry.error
        assert entry.summary.endswith(".")
        for option in options_of(entry.options or {}):
            assert option["description"].endswith("."), (entry.name, option)


def test_every_key_of_the_config_is_described() -> None:
    schema = config_schema(catalogue())
    domains = {domain.__name__ for domain in DOMAINS.values()}
    for name, section in [("the file", schema), *schema["$defs"].items()]:
        for key, part in section.get("properties", {}).items():
            text = part.get("description", "")
            assert text.endswith("."), (name, key)
    assert domains <= set(schema["$defs"])


def test_a_strangers_plugin_is_described_by_its_signature_and_docstring(
    theirs: dict[str, Entry],
) -> None:
    mine = theirs["user_theirs:mine"]
    assert mine.summary == "Look [here] first, then elsewhere."
    assert (mine.error, mine.place) == ("", "user_theirs:Mine")
    assert mine.as_json()["options"] == [
        {
            "name": "depth",
            "type": "whole number >= 1",
            "required": True,
            "default": None,
            "description": "How deep, in steps; the deeper the slower.",
        },
        {
            "name": "way",
            "type": "left or right",
            "required": False,
            "default": "left",
            "description": "Which way.",
        },
        {
            "name": "places",
            "type": "list of whole numbers",
            "required": False,
            "default": [1, 2],
            "description": "",
        },
    ]


def test_a_broken_plugin_says_why_and_disturbs_nobody(
    theirs: dict[str, Entry], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "No module named 'user_nowhere'" in theirs["user_nowhere:gone"].error
    assert "another package registers this name" in theirs["user_theirs:asha"].error
    assert "NowhereToBeFound" in theirs["user_theirs:unclear"].error
    odd = theirs["user_theirs:odd"]
    assert (odd.error, odd.options) == ("", None)
    assert not theirs["dotrain:grid"].error
    print_plugins(list(theirs.values()))
    out = " ".join(capsys.readouterr().out.split())
    assert "Look [here] first, then elsewhere. (from user_theirs)" in out
    assert "gone optimizer 'user_nowhere:X' can't be loaded" in out
    assert "grid Try every combination" in out


def test_what_a_plugin_prints_on_import_is_no_result(project: Project) -> None:
    project.write("user_theirs.py", PLUGINS)
    code = (
        "import sys; from importlib.metadata import EntryPoint; from dotrain import cli, plugins\n"
        "found = [EntryPoint('mine', 'user_theirs:Mine', plugins.OPTIMIZERS)]\n"
        "plugins.entry_points = lambda group: found if group == plugins.OPTIMIZERS else []\n"
        "sys.argv[1:] = ['plugins', '--json']; sys.path.insert(0, '.'); cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["name"] == "mine"
    assert done.stderr == "loaded\n"


def test_options_that_can_not_be_told_are_a_mistake_with_its_place(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("user_unclear.py", PLUGINS)
    file = folder.write(
        "config.yaml",
        "train: t.py:train\nmetric: m\nsearch:\n  num_trials: 1\n"
        "  space: {a: [INTEGER, [0, 1]]}\n  optimizer: {name: 'user_unclear:Unclear'}\n",
    )
    monkeypatch.syspath_prepend(folder.path)
    with pytest.raises(ConfigError, match=r"6:14: .*options of Unclear can't be told: NameError"):
        load_config(file)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer", "minimum": 1}, "whole number >= 1"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number > 0, <= 1"),
        ({"type": ["integer", "null"], "minimum": 1}, "whole number >= 1 or null"),
        ({"type": ["string", "number", "boolean", "null"]}, "value"),
        ({"type": "array", "items": {"type": "number"}}, "list of numbers"),
        ({"type": "array", "prefixItems": [{"type": "number"}] * 2}, "[number, number]"),
        ({"enum": ["max", "min"]}, "max or min"),
        ({"anyOf": [{"const": "a"}, {"pattern": ":"}], "type": "string"}, "text"),
        ({"oneOf": [{"type": "string"}, {"$ref": "#/$defs/T"}]}, "text or mapping"),
        ({}, "anything"),
    ],
)
def test_types_are_told_as_people_say_them(schema: dict[str, Any], text: str) -> None:
    assert type_text(schema, {"T": {"type": "object"}}) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("max", "max"), ({"name": "none"}, "{name: none}"), (True, "true"), (1.0, "1.0"), ([], "[]")],
)
def test_defaults_are_written_as_in_a_config(value: Any, text: str) -> None:
    assert to_yaml(value, one_line=True) == text
