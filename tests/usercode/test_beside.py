"""Files beside the code: what patterns mean, and the data of packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from dotrain.usercode.beside import files_of, names_below, package_data, roots_of
from dotrain.usercode.closure import find_closure
from dotrain.usercode.target import find_target
from tests.folder import Folder

TREE = [
    "a.csv",
    "b.json",
    "data/x.csv",
    "data/deep/y.csv",
    "data/.hidden",
    "data/__pycache__/m.pyc",
    "data/x.csv~",
    ".git/config",
    "runs/demo/now/journal.jsonl",
    "runs/demo/now/trials/x.csv",
    "env/pyvenv.cfg",
    "env/z.csv",
]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.csv", "a.csv"),
        ("data", "data/deep/y.csv data/x.csv"),
        ("data/", "data/deep/y.csv data/x.csv"),
        ("data/*", "data/deep/y.csv data/x.csv"),
        ("**/*.csv", "a.csv data/deep/y.csv data/x.csv"),
        ("data/.hidden", "data/.hidden"),
        (".", "a.csv b.json data/deep/y.csv data/x.csv"),
        ("**", "a.csv b.json data/deep/y.csv data/x.csv"),
        ("[ab].*", "a.csv b.json"),
        ("runs/demo/now/trials/x.csv", ""),
        ("nothing*", ""),
    ],
)
def test_a_pattern_means_the_files_that_anybody_would_say(
    folder: Folder, pattern: str, names: str
) -> None:
    (folder.path / "t.py").unlink()
    for name in TREE:
        folder.write(name, "x")
    found = [path.relative_to(folder.path).as_posix() for path in files_of(pattern, folder.path)]
    assert found == names.split()


def test_a_project_may_be_an_environment_itself(folder: Folder) -> None:
    folder.write("pyvenv.cfg", "")
    folder.write("data/x.csv", "")
    assert files_of("data/*.csv", folder.path) == [folder.path / "data" / "x.csv"]


def test_the_data_of_packages_are_what_lies_in_them_and_is_no_module(folder: Folder) -> None:
    folder.write("main.py", "from pkg import inner\ndef train(): ...\n")
    for name in ("pkg/__init__.py", "pkg/inner.py", "pkg/unused.py", "pkg/v.json"):
        folder.write(name, "")
    for name in ("pkg/sub/w.txt", "pkg/.cache", "pkg/v.json.bak", "beside.json"):
        folder.write(name, "")
    files = find_closure([find_target("main.py:train", folder.path)]).files
    found = dict(package_data(files))
    assert found == {
        "pkg/sub/w.txt": folder.path / "pkg/sub/w.txt",
        "pkg/v.json": folder.path / "pkg/v.json",
    }


def test_a_file_lies_beside_every_folder_that_code_is_imported_from() -> None:
    files = {Path("/p/a.py"): "a.py", Path("/p/sub/b.py"): "b.py", Path("/p/sub/q/c.py"): "q/c.py"}
    roots = roots_of(files)
    assert roots == [Path("/p"), Path("/p/sub")]
    assert names_below(Path("/p/sub/x.csv"), roots) == ["sub/x.csv", "x.csv"]
    assert names_below(Path("/q/x.csv"), roots) == []
