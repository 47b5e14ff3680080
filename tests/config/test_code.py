"""What is wrong with the user's files as a whole; whose code a config means that lies in a run directory."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.frameworks import registry
from tests.folder import Folder

HEAD = "metric: m\ndirection: max\n"


def test_two_files_of_one_name_are_refused_unless_they_say_the_same(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one, two = (tmp_path_factory.mktemp(name) / "u.py" for name in ("one", "two"))
    text = f"{HEAD}train: {one}:train\nmodel: {two}:build\n"
    source = "def train(): return 1\ndef build(): ...\n"
    one.write_text(source)
    two.write_text(source + "x = 1\n")
    (found,) = folder.problems(text)
    assert found == (
        f"3:8: train: {one} and {two} would both be u.py in the run's archive of the code; "
        "rename one, or name both by a path below one folder"
    )
    two.write_text(source)
    assert set(folder.load(text).closure.files) == {one, two}
    # One file under one name stands twice in no archive.
    folder.load(text.replace(str(two), str(one)))


def test_a_module_that_lies_in_the_current_folder_only_is_refused(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    (here / "only_lies_here.py").write_text("x = 1\n")
    monkeypatch.chdir(here)
    user = folder.write("u.py", "\nimport only_lies_here\ndef train(): return 1\n")
    text = f"{HEAD}train: u.py:train\n"
    (found,) = folder.problems(text)
    lies = here / "only_lies_here.py"
    assert found.startswith(
        f"3:8: train: {user}:2:1: 'only_lies_here' is only in the current folder ({lies}), where "
        "trials don't look; put it beside the file that imports it"
    )
    # In a run that goes on it is too late for that.
    loaded = load_config(folder.path / "config.yaml", goes_on=True)
    assert [str(w).partition("config.yaml:")[2] for w in loaded.warnings] == [found]


def test_a_framework_that_can_not_be_loaded_is_refused_where_it_is_used(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = EntryPoint("only_named", "nowhere_to_be_found:Framework", "dotrain.frameworks")
    monkeypatch.setattr(registry, "registered", lambda group: {"only_named": broken})
    folder.write("u.py", "import only_named\ndef train(): return 1\ndef other(): return 1\n")
    monkeypatch.setitem(sys.modules, "only_named", ModuleType("only_named"))
    (found,) = folder.problems(f"{HEAD}train: u.py:train\n")
    assert found.startswith("3:8: train: ")
    assert "nowhere_to_be_found" in found
    folder.load(f"{HEAD}train: t.py:train\n")


PLUGIN = """
from dotrain import AbstractOptimizer, Observer

class Mine(AbstractOptimizer):
    where = "{0}"
    def initialize(self): ...
    def get_suggestion(self, trial=None): ...

class Watching(Observer):
    where = "{0}"
"""


def test_the_code_that_ran_has_its_own_plugins_and_functions_but_no_observers(
    folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    code = tmp_path_factory.mktemp("code")
    for where, file in (("then", code), ("today", folder.path)):
        for name in ("user_policy", "user_watch"):
            (file / f"{name}.py").write_text(PLUGIN.format(where))
        (file / "u.py").write_text("def train(**any): return 1\n")
    file = folder.write(
        "config.yaml",
        f"{HEAD}train: u.py:train\nsearch: {{space: {{x: [INTEGER, [0, 3]]}}, "
        "optimizer: {name: 'user_policy:Mine'}, num_trials: 3}\n"
        "observers: [{name: 'user_watch:Watching'}]\ntensorboard: false\n",
    )
    loaded: Any = load_config(file, code=code)
    assert loaded.optimizer.where == "then"
    assert [one.where for one in loaded.observers] == ["today"]
    assert (loaded.train.file, loaded.archived) == (Path(code / "u.py"), True)


def test_workers_that_would_train_apart_are_told_at_the_key(folder: Folder) -> None:
    text = (
        f"{HEAD}train: u.py:train\ndistribution: {{strategy: multi_worker_mirrored, workers: 2}}\n"
    )
    user = folder.write("u.py", "def train(x=1): return 1\n")
    (found,) = folder.problems(text)
    assert found.startswith(f"4:1: distribution: {user}:1: train() doesn't ask for 'dist_strategy'")
    for takes in ("dist_strategy", "**any"):
        folder.write("u.py", f"def train({takes}): return 1\n")
        folder.load(text)
