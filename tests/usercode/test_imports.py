"""Where imports are looked for: one path on every executor, and never the current folder."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dotrain.usercode.imports import imports_of, only_here
from tests.conftest import ROOT, Project
from tests.folder import Folder

HEAD = "metric: m\nname: demo\ncluster: {kind: inline}\n"
TRAIN = "\n\ndef train():\n    return 1.0\n"


# What can't be found is told before anything runs


@pytest.mark.parametrize("file", ["helper.py", "helper/__init__.py"])
def test_a_module_that_is_only_in_the_current_folder_is_not_found(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    user = folder.write("project/u.py", f"import os\nimport helper{TRAIN}")
    lying = folder.write(f"elsewhere/{file}", "x = 1\n")
    here = folder.path / "elsewhere"
    monkeypatch.chdir(here)
    text = "train: u.py:train\nmetric: m\n"
    assert folder.problems(text, file="project/c.yaml") == [
        f"1:8: train: {user}:2:1: 'helper' is only in the current folder ({lying}), where trials "
        f"don't look; put it beside the file that imports it, or start with PYTHONPATH={here}"
    ]
    [said] = folder.problems("train: helper:train\nmetric: m\n", file="project/c.yaml")
    assert said == (
        "1:8: train: no module 'helper' beside the config, in a folder above it, or on Python's "
        f"path; 'helper' is only in the current folder ({lying}), where trials don't look; put it "
        f"beside the config, or start with PYTHONPATH={here}"
    )
    monkeypatch.setenv("PYTHONPATH", str(here))
    folder.load(text, file="project/c.yaml")


@pytest.mark.parametrize(
    "imports",
    [
        "try:\n    import helper\nexcept ImportError:\n    helper = None",
        "try:\n    import json\nexcept (ValueError, ModuleNotFoundError):\n    import helper",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import helper",
        "import beside",
        "import above",
        "import yaml",  # one of that name is installed
        "import json",
    ],
)
def test_what_is_found_elsewhere_or_not_needed_is_not_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, imports: str
) -> None:
    folder.write("project/sub/u.py", imports + TRAIN)
    folder.write("project/sub/beside.py", "")
    folder.write("project/above.py", "")
    for name in ("helper", "beside", "above", "yaml", "json"):
        folder.write(f"elsewhere/{name}.py", "")
    monkeypatch.chdir(folder.path / "elsewhere")
    folder.load("train: sub/u.py:train\nmetric: m\n", file="project/c.yaml")


def test_a_current_folder_that_is_gone_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert only_here(["helper"], "the config") == {}


def test_every_import_is_seen_and_whether_it_is_needed() -> None:
    source = """
import a, b.c
from .d import e
def f():
    from g import h
try:
    import i
except ImportError:
    import j
else:
    import k
try:
    import l
except KeyError:
    pass
"""
    found = {
        str(one): (one.line, one.column, one.is_needed) for one in imports_of(ast.parse(source))
    }
    assert found == {
        "import a": (2, 1, True),
        "import b.c": (2, 1, True),
        "from .d import e": (3, 1, True),
        "from g import h": (5, 5, True),
        "import i": (7, 5, False),
        "import j": (9, 5, False),
        "import k": (11, 5, True),
        "import l": (13, 5, True),
    }


# A module of a package


@pytest.mark.parametrize(
    ("config", "train", "imports", "packages", "works"),
    [
        ("", "training.py", "from .util import x", [""], "myproj.training"),
        ("", "training.py", "from . import util", [""], "myproj.training"),
        ("", "training.py", "from .util import x", [], "myproj.training"),
        ("", "sub/training.py", "from ..util import x", ["", "sub"], "myproj.sub.training"),
        ("sub", "training.py", "from ..util import x", ["", "sub"], "myproj.sub.training"),
        ("sub", "training.py", "from ..util import x", [], "myproj.sub.training"),
        ("sub", "training.py", "from .near import x", ["", "sub"], "myproj.sub.training"),
        ("", "__init__.py", "from .util import x", [""], "myproj"),
    ],
)
def test_a_module_of_a_package_named_by_file_is_refused_with_the_form_that_works(
    project: Project, config: str, train: str, imports: str, packages: list[str], works: str
) -> None:
    for name in packages:
        project.write(f"myproj/{name}/__init__.py", "")
    project.write("myproj/util.py", "x = 1.0\n")
    project.write("myproj/sub/near.py", "x = 1.0\n")
    code = f"{imports}\n\ndef train():\n    return 1.0\n"
    file = project.write(f"myproj/{config}/{train}", code)
    folder = Folder(project.path)
    place = os.path.join("myproj", config, "c.yaml")
    said = folder.problems(f"train: {train}:train\n{HEAD}", file=place)
    assert said == [
        f"1:8: train: {file}:1:1: '{imports}' leads out of the package that '{train}:train' "
        f"says it is in; write {works}:train"
    ]
    written = folder.write(place, f"train: {works}:train\n{HEAD}")
    done = project.cli("run", str(written), "--json")
    assert json.loads(done.stdout)["best"]["value"] == 1.0, done.stderr


# The current folder is none to import from

#: Python's own, which libraries, dotrain and the functions below import.
OWN = ("csv", "json", "logging", "queue", "random", "subprocess", "uuid")
HOSTILE = "raise SystemExit(f'{__file__} was imported')\n"
USER = """
import csv, json, logging, queue, random, subprocess, uuid


def train(flag=True):
    return random.random() + queue.Queue().qsize()
"""


@pytest.fixture
def hostile(project: Project) -> Project:
    """A folder of modules with the names of Python's own; the user's code lies elsewhere."""
    project.write("code/user.py", USER)
    for name in OWN:
        project.write(f"here/{name}.py", HOSTILE)
    return Project(project.path / "here")


def config(hostile: Project, **sections: Any) -> str:
    data = {"train": "user.py:train", "metric": "score", "direction": "max", **sections}
    hostile.write("../code/c.yaml", json.dumps(data))
    return "../code/c.yaml"


def environment() -> dict[str, str]:
    """Some, so that the command is a new interpreter's."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_what_lies_in_the_current_folder_hides_nothing(hostile: Project, kind: str) -> None:
    space = {"space": {"flag": {"type": "categorical", "values": [True, False]}}}
    search = {**space, "optimizer": {"name": "grid"}}
    written = config(hostile, search=search, cluster={"kind": kind}, limits={"max_failures": 1})
    done = hostile.cli("check", written, env=environment())
    assert done.returncode == 0, done.stderr
    done = hostile.cli("run", written, "--json", env=environment())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["finished"] == 2


def test_nor_does_it_where_a_study_is_rehearsed(hostile: Project) -> None:
    study = {"components": {"flag": {"flag": False}}, "seeds": 2}
    written = config(hostile, ablation=study, cluster={"kind": "inline"})
    done = hostile.cli("ablate", written, "--json", env=environment())
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["finished"] == 4


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_resume_from_elsewhere_finds_the_same(hostile: Project, kind: str) -> None:
    user = """
        import os
        import helper

        def train():
            if not os.path.exists(os.environ["DONE"]):
                open(os.environ["DONE"], "w").close()
                os.kill(int(os.environ.get("DRIVER", os.getppid())), 9)
            return helper.x
        """
    hostile.write("../code/user.py", user)
    hostile.write("../code/helper.py", "x = 1.0")
    hostile.write("helper.py", "x = 2.0")
    driver = """
        import os, runpy, sys

        os.environ["DRIVER"] = str(os.getpid())
        runpy.run_module("dotrain", run_name="__main__", alter_sys=True)
        """
    hostile.write("../driver.py", driver)
    written = config(hostile, name="n", cluster={"kind": kind})
    settings = {**environment(), "DONE": str(hostile.path / "done")}
    command = [sys.executable, "../driver.py", "run", written]
    done = subprocess.run(command, cwd=hostile.path, env=settings, check=False)
    assert done.returncode == -9
    elsewhere = Project(hostile.path.parent)
    runs = str(hostile.path / "runs")
    done = elsewhere.cli("resume", "n", "--runs-dir", runs, "--json", env=settings)
    assert json.loads(done.stdout)["best"]["value"] == 1.0, done.stderr


SCRIPT = """
import os
from dotrain import experiment

def train():
    import helper

    return helper.x

result = experiment.lagom(train, metric="m", direction="max", cluster={"kind": KIND}, quiet=True)
print("value", result.best["value"])
"""


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_script_imports_from_its_folder_and_a_console_from_the_current_one(
    project: Project, kind: str
) -> None:
    project.write("scripts/helper.py", "x = 1.0")
    project.write("helper.py", "x = 2.0")
    source = SCRIPT.replace("KIND", repr(kind))
    script = project.write("scripts/script.py", source)
    # As in a console and a notebook, there is no script's folder.
    for command, value in (([str(script)], 1.0), (["-c", source], 2.0)):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=project.path,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == f"value {value}\n", done.stderr
