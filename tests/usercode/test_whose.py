"""Whose line is this: dotrain's, the user's, or a library's?"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import pytest

import dotrain
from dotrain.training.failure import describe_failure
from dotrain.usercode.archive import Code, unpack
from dotrain.usercode.whose import Whose, whose_file, whose_frame, whose_module
from tests.conftest import ROOT

OURS = Path(dotrain.__file__).parent


# Files


@pytest.mark.parametrize(
    "file",
    [
        "/home/me/project/train.py",
        # What lies in the folder of an environment was not installed for that.
        "/home/me/project/.venv/train.py",
        "/home/me/project/.venv/src/mine/model.py",
        "/opt/conda/envs/mine/project/train.py",
        # An editable package stays where its author writes it.
        "/home/me/mine/src/mine/train.py",
        "/home/me/code.zip/train.py",
        "/home/me/site-packages-of-mine/train.py",
        "train.py",
    ],
)
def test_a_file_that_nobody_installed_is_the_users(file: str):
    assert whose_file(file) is Whose.USER
    assert whose_file(Path(file)) is Whose.USER


@pytest.mark.parametrize(
    "file",
    [
        np.__file__,
        json.__file__,
        os.__file__,
        "/home/me/project/.venv/lib/python3.12/site-packages/numpy/core.py",
        "/home/me/.local/lib/python3.12/site-packages/mine.py",
        "/usr/lib/python3/dist-packages/yaml/__init__.py",
        "/usr/local/lib/python3.12/dist-packages/yaml/__init__.py",
        "/usr/lib/python3/dist-packages/thing.egg/thing/core.py",
    ],
)
def test_a_file_that_was_installed_is_a_librarys(file: str):
    assert whose_file(file) is Whose.LIBRARY


def test_what_lies_beside_dotrain_in_its_checkout_is_the_users(tmp_path: Path):
    assert whose_file(OURS / "usercode" / "whose.py") is Whose.DOTRAIN
    for name in ("recipes/train.py", "dotrain_mine/train.py", "dotrain.py"):
        assert whose_file(ROOT / name) is Whose.USER
    (tmp_path / "link").symlink_to(OURS, target_is_directory=True)
    assert whose_file(tmp_path / "link" / "errors.py") is Whose.DOTRAIN


def test_dotrain_is_dotrains_where_it_is_installed_by_copying(tmp_path: Path):
    installed = tmp_path / "venv" / "site-packages"
    shutil.copytree(OURS, installed / "dotrain", ignore=shutil.ignore_patterns("__pycache__"))
    code = """
import pathlib, dotrain
from dotrain.usercode.whose import whose_file
here = pathlib.Path(dotrain.__file__).parent
for file in (here / "errors.py", here.parent / "other.py", here.parents[1] / "train.py"):
    print(whose_file(file).name)
"""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    out = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.split() == ["DOTRAIN", "LIBRARY", "USER"]


def test_a_package_that_is_linked_to_an_environment_is_its_authors(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    installed = tmp_path / "venv" / "site-packages"
    installed.mkdir(parents=True)
    (installed / "mine").symlink_to(tmp_path / "mine", target_is_directory=True)
    assert whose_file(installed / "mine" / "train.py") is Whose.USER


def test_a_file_that_is_linked_to_an_installers_cache_is_a_librarys(tmp_path: Path):
    cached = tmp_path / "cache" / "lib.py"
    cached.parent.mkdir()
    cached.write_text("")
    installed = tmp_path / "venv" / "site-packages" / "lib.py"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(cached)
    assert whose_file(installed) is Whose.LIBRARY


def test_the_code_that_came_with_a_program_is_the_users(tmp_path: Path):
    (tmp_path / "main.py").write_text("x = 1\n")
    folder = unpack(Code.of({tmp_path / "main.py": "main.py"}).archive, tmp_path, "dotrain-code-")
    try:
        assert whose_file(folder / "main.py") is Whose.USER
    finally:
        shutil.rmtree(folder)


def test_it_can_be_told_when_the_current_folder_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert whose_file("train.py") is Whose.USER


# Modules


def test_a_module_is_told_by_its_file_and_main_without_one_is_a_notebook():
    assert whose_module(dotrain) is Whose.DOTRAIN
    assert whose_module(sys.modules[__name__]) is Whose.USER
    assert {whose_module(module) for module in (sys, json, np)} == {Whose.LIBRARY}
    assert whose_module(ModuleType("__main__")) is Whose.USER


# Frames


def frame(filename: str, **names: Any) -> FrameType:
    exec(compile("import sys\nframe = sys._getframe()", filename, "exec"), names)
    found = names["frame"]
    assert isinstance(found, FrameType)
    return found


LIB = "/venv/lib/python3.12/site-packages/lib.py"


@pytest.mark.parametrize(
    ("filename", "of", "expected"),
    [
        ("/home/me/train.py", None, Whose.USER),
        (LIB, None, Whose.LIBRARY),
        (str(OURS / "errors.py"), None, Whose.DOTRAIN),
        ("<frozen importlib._bootstrap>", None, Whose.LIBRARY),
        ("<stdin>", None, Whose.USER),
        ("<ipython-input-3-0c5a>", None, Whose.USER),
        ("/tmp/ipykernel_12/345.py", None, Whose.USER),
        ("<string>", None, Whose.USER),
        ("<string>", "/home/me/train.py", Whose.USER),
        ("<string>", LIB, Whose.LIBRARY),
        ("<string>", str(OURS / "errors.py"), Whose.DOTRAIN),
    ],
)
def test_a_frame_is_told_by_its_file_or_by_the_module_it_runs_in(
    filename: str, of: str | None, expected: Whose
):
    names = {} if of is None else {"__file__": of}
    assert whose_frame(frame(filename, **names)) is expected


def test_a_failure_is_placed_at_the_users_line_not_at_a_made_method_of_a_librarys_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    installed = tmp_path / "site-packages"
    installed.mkdir()
    (installed / "lib_with_a_class.py").write_text(
        "from dataclasses import dataclass\n\n\n@dataclass\nclass Options:\n    size: int\n\n"
        "    def __post_init__(self):\n        raise ValueError('no such size')\n"
    )
    monkeypatch.syspath_prepend(str(installed))
    options = importlib.import_module("lib_with_a_class").Options
    with pytest.raises(ValueError, match="no such size") as caught:
        options(3)
    failure = describe_failure(caught.value)
    assert failure.source == "options(3)"
    assert "test_whose.py" in failure.location
