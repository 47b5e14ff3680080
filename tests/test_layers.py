"""Imports point one way, and nothing heavy is imported on the way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "dotrain"

#: From the ground up; a room may import those below it, and itself.
LAYERS = [
    {"errors", "versions"},
    {"space"},
    {"core"},
    {"optimizers", "earlystop", "ablation"},
    {"usercode"},
    {"store"},
    {"training"},
    {"distribution"},
    {"callbacks", "plugins"},
    {"config"},
    {"scaffold"},
    {"executors", "report"},
    {"runs", "testing"},
    {"experiment"},
    {"cli"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def modules() -> list[Path]:
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module == "dotrain" else [node.module]


def top_level_imports(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_every_room_has_its_place() -> None:
    assert {room_of(file) for file in modules()} == set(LEVEL)


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_one_way(file: Path) -> None:
    room = room_of(file)
    for name in imports(file):
        if not name.startswith("dotrain."):
            continue
        other = name.split(".")[1]
        assert other == room or LEVEL[other] < LEVEL[room], f"{room} imports {name}"


def test_the_core_does_no_io_and_reads_no_clock() -> None:
    allowed = {
        *("__future__", "abc", "bisect", "collections", "dataclasses", "enum", "hashlib", "heapq"),
        *("inspect", "itertools", "random", "typing", "traceback", "dotrain"),
    }
    for file in (PACKAGE / "core").glob("*.py"):
        used = {name.split(".")[0] for name in imports(file)}
        assert used <= allowed, file


def test_one_class_knows_the_paths_of_a_run() -> None:
    for file in modules():
        if file.relative_to(PACKAGE).as_posix() != "store/run_dir.py":
            assert 'output.log"' not in file.read_text(), file


def test_only_the_dask_executor_imports_distributed() -> None:
    for file in modules():
        if "dask" not in file.relative_to(PACKAGE).parts:
            assert not {"distributed", "dask"} & {n.split(".")[0] for n in imports(file)}, file


def test_frameworks_are_imported_inside_functions_only() -> None:
    for file in modules():
        if file.name != "callbacks.py":
            assert not {"tensorflow", "keras", "torch"} & set(top_level_imports(file)), file


@pytest.mark.parametrize("module", ["dotrain", "dotrain.experiment", "dotrain.executors.factory"])
def test_no_module_of_the_driver_imports_a_framework(module: str) -> None:
    code = f"import sys, {module}; print(*{{n.split('.')[0] for n in sys.modules}})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "torch", "sklearn"} & set(out.stdout.split())
