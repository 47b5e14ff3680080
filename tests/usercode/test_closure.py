"""The files behind a train function, found by reading."""

from __future__ import annotations

import pytest

from dotrain.usercode.closure import find_closure
from dotrain.usercode.function import FunctionRef
from dotrain.usercode.target import find_target
from tests.conftest import ROOT
from tests.folder import Folder


def closure(
    folder: Folder, train: str = "recipes/y.py:train", **sections: str
) -> tuple[list[str], set[str]]:
    text = "".join(f"{key}: {value}\n" for key, value in sections.items())
    found = folder.load(f"train: {train}\nmetric: m\n{text}", file="configs/x.yaml").closure
    for file, relative in found.files.items():
        assert file == folder.path / relative or str(file).endswith(relative)
    return sorted(found.files.values()), found.packages


def write(folder: Folder, imports: str, *others: str) -> None:
    folder.write("recipes/y.py", f"{imports}\n\n\ndef train():\n    return 1.0\n")
    for other in others:
        folder.write(other, "x = 1\n")


@pytest.mark.parametrize(
    ("imports", "others", "expected"),
    [
        ("from recipes.z import x", ["recipes/z.py"], ["recipes/z.py"]),
        ("import recipes.z", ["recipes/z.py"], ["recipes/z.py"]),
        ("import recipes.z as z", ["recipes/z.py"], ["recipes/z.py"]),
        ("from recipes import z", ["recipes/z.py"], ["recipes/z.py"]),
        (
            "from recipes import z, w",
            ["recipes/z.py", "recipes/w.py"],
            ["recipes/w.py", "recipes/z.py"],
        ),
        ("from . import z", ["recipes/z.py"], ["recipes/z.py"]),
        ("from .z import x", ["recipes/z.py"], ["recipes/z.py"]),
        ("from .sub.z import x", ["recipes/sub/z.py"], ["recipes/sub/z.py"]),
        ("import z", ["recipes/z.py"], ["recipes/z.py"]),
        ("import helpers", ["helpers.py"], ["helpers.py"]),
        ("from helpers import x", ["helpers.py"], ["helpers.py"]),
        ("from helpers import *", ["helpers.py"], ["helpers.py"]),
        (
            "import lib.deep.m",
            ["lib/__init__.py", "lib/deep/__init__.py", "lib/deep/m.py", "lib/other.py"],
            ["lib/__init__.py", "lib/deep/__init__.py", "lib/deep/m.py"],
        ),
        (
            "from lib import x",
            ["lib/__init__.py", "lib/other.py"],
            ["lib/__init__.py"],
        ),
        ("from lib.deep import m", ["lib/deep/m.py"], ["lib/deep/m.py"]),
        ("def f():\n    import helpers", ["helpers.py"], ["helpers.py"]),
        ("class A:\n    if 1:\n        from helpers import x", ["helpers.py"], ["helpers.py"]),
        ("try:\n    import helpers\nexcept ImportError:\n    pass", ["helpers.py"], ["helpers.py"]),
    ],
    ids=lambda value: value.replace("\n", " ") if isinstance(value, str) else "",
)
def test_a_local_import_is_followed(
    folder: Folder, imports: str, others: list[str], expected: list[str]
):
    write(folder, imports, *others)
    assert closure(folder) == (sorted([*expected, "recipes/y.py"]), set())


def test_a_relative_import_may_go_up_within_the_folder_of_the_target(folder: Folder):
    folder.write("pkg/a/b/m.py", "from ...top import x\nfrom .. import side\ndef train(): pass\n")
    folder.write("pkg/top.py", "")
    folder.write("pkg/a/side.py", "")
    files = ["pkg/a/b/m.py", "pkg/a/side.py", "pkg/top.py"]
    assert closure(folder, "pkg/a/b/m.py:train") == (files, set())


def test_imports_are_followed_through_files_and_circles(folder: Folder):
    write(folder, "from . import a")
    folder.write("recipes/__init__.py", "import tensorflow\n")
    folder.write("recipes/a.py", "from recipes import b\nimport pandas as pd\n")
    folder.write("recipes/b.py", "from recipes import a, y\nimport sklearn.svm\n")
    files = ["recipes/__init__.py", "recipes/a.py", "recipes/b.py", "recipes/y.py"]
    assert closure(folder) == (files, {"tensorflow", "pandas", "sklearn"})


def test_packages_from_elsewhere_are_recorded_by_their_first_name(folder: Folder):
    write(folder, "import numpy as np, os.path\nfrom keras.layers import Dense\nimport helpers")
    folder.write("helpers.py", "def f():\n    from sklearn import svm\n")
    assert closure(folder) == (["helpers.py", "recipes/y.py"], {"numpy", "os", "keras", "sklearn"})


def test_a_folder_without_code_does_not_hide_a_package_of_its_name(folder: Folder):
    write(folder, "import keras\nfrom numpy import array", "keras/readme.txt", "numpy/data/a.npy")
    assert closure(folder)[1] == {"keras", "numpy"}


def test_model_and_data_bring_their_files(folder: Folder):
    write(folder, "")
    folder.write("net.py", "import layers\ndef build(): pass\n")
    folder.write("layers.py", "")
    folder.write("recipes/data.py", "def load(): pass\n")
    files, _ = closure(folder, model="net.py:build", data="recipes/data.py:load")
    assert files == ["layers.py", "net.py", "recipes/data.py", "recipes/y.py"]


def test_a_file_that_is_no_python_is_shipped_and_not_followed(folder: Folder):
    write(folder, "import broken, nul")
    folder.write("broken.py", "def (:\n")
    folder.write("nul.py", "x = 1\0\nimport os\n")
    assert closure(folder) == (["broken.py", "nul.py", "recipes/y.py"], set())


def test_files_outside_the_imports_stay_where_they_are(folder: Folder):
    write(folder, "import os", "recipes/unused.py", "secret.py")
    assert closure(folder)[0] == ["recipes/y.py"]


def test_dotrain_beside_the_users_code_is_a_package_that_workers_have():
    found = find_closure([find_target("tests/folder.py:TRAIN", ROOT)])
    assert all(name.startswith("tests/") for name in found.files.values())
    assert "dotrain" in found.packages


def test_a_package_linked_to_an_environment_is_followed_its_neighbours_are_not(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
):
    folder.write("src/mine/net.py", "import other\nfrom mine import parts\ndef train(): pass\n")
    folder.write("src/mine/parts.py", "")
    folder.write("src/mine/__init__.py", "")
    folder.write("env/site-packages/other.py", "")
    installed = folder.path / "env" / "site-packages"
    (installed / "mine").symlink_to(folder.path / "src" / "mine", target_is_directory=True)
    monkeypatch.syspath_prepend(str(installed))
    target = find_target("mine.net:train", folder.path / "configs")
    found = find_closure([target])
    assert sorted(found.files.values()) == ["mine/__init__.py", "mine/net.py", "mine/parts.py"]
    assert found.packages == {"other"}
    assert target.reference().file == "mine/net.py"


def test_an_installed_function_is_imported_by_its_module(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
):
    folder.write("env/site-packages/theirs.py", "def train(): pass\n")
    monkeypatch.syspath_prepend(str(folder.path / "env" / "site-packages"))
    target = find_target("theirs:train", folder.path)
    assert target.reference() == FunctionRef("train", "theirs")
    found = find_closure([target])
    assert (found.files, found.packages) == ({}, {"theirs"})
