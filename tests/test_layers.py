"""Imports point one way, and nothing heavy is imported on the way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "dotrain"

#: From the ground up; a room may import those below it, and itself.
LAYERS = [
    {"errors", "temporary"},
    {"space", "executors.threads", "executors.machine"},
    {"core"},
    {"samplers"},
    {"optimizers", "earlystop", "ablation"},
    {"frameworks.base", "executors.base"},
    {"frameworks.rows"},
    {"abc"},
    {"frameworks.none", "plugins"},
    {"frameworks.registry"},
    {"usercode", "versions"},
    {"store"},
    {"data"},
    {"training", "results"},
    {"distribution"},
    {"attempts"},
    {"frameworks.tensorflow", "frameworks.jax"},
    {"frameworks.keras", "frameworks.torch", "frameworks.boosting", "frameworks.sklearn"},
    {"callbacks"},
    {"config"},
    {"scaffold"},
    {"executors", "report"},
    {"runs"},
    {"testing"},
    {"experiment"},
    {"cli"},
    {"maggy"},
    {"__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

#: Rooms of which every part has a place of its own.
DIVIDED = {"frameworks"}

FRAMEWORKS = {
    *("tensorflow", "keras", "torch", "lightning", "transformers", "skorch"),
    *("xgboost", "lightgbm", "catboost", "sklearn", "jax"),
}
#: Of one framework each, or of several that are alike.
FOLDERS = {path.name for path in (PACKAGE / "frameworks").iterdir() if path.is_dir()}

#: What may name a framework outside of its folder, and which of its words, or all.
MAY_NAME_ONE = {
    "callbacks.py": "",  # a public name
    **dict.fromkeys(
        ("maggy/callbacks.py", "maggy/config.py", "maggy/experiment.py"), ""
    ),  # names of Maggy's
    **dict.fromkeys(
        (f"maggy/experiment_config/{n}.py" for n in ("__init__", "torch_distributed")),
        "",
    ),
    "report/tensorboard/event_files.py": "compat.tensorflow_stub.pywrap_tensorflow",
}


#: The most lines of a file.
MOST_LINES = 350


def modules() -> list[Path]:
    outside = {PACKAGE / "__init__.py", *(PACKAGE / room / "__init__.py" for room in DIVIDED)}
    return sorted(p for p in PACKAGE.rglob("*.py") if p not in outside)


def room_of(file: Path) -> str:
    return room_named(".".join(file.relative_to(PACKAGE).with_suffix("").parts))


def room_named(module: str) -> str:
    """The room of a module by its dotted name below the package, or its own floor where it has one."""
    parts = module.split(".")
    two = ".".join(parts[:2])
    return two if two in LEVEL or parts[0] in DIVIDED else parts[0]


def module_of(file: Path) -> str:
    return "dotrain." + ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            rooms = {"dotrain", *(f"dotrain.{room}" for room in DIVIDED)}
            yield from names if node.module in rooms else [node.module]


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
        other = room_named(name.removeprefix("dotrain."))
        assert other == room or LEVEL[other] < LEVEL[room], f"{room} imports {name}"


def test_the_core_does_no_io_and_reads_no_clock() -> None:
    allowed = {
        *(
            "__future__",
            "abc",
            "array",
            "bisect",
            "collections",
            "contextlib",
            "dataclasses",
            "enum",
            "hashlib",
            "heapq",
        ),
        *("inspect", "itertools", "random", "types", "typing", "traceback", "dotrain"),
    }
    for file in (PACKAGE / "core").glob("*.py"):
        used = {name.split(".")[0] for name in imports(file)}
        paths = {"pathlib"} if file.name == "observer.py" else set()  # says where a run lies
        assert used <= allowed | paths, file


def test_one_class_knows_the_paths_of_a_run() -> None:
    for file in modules():
        if file.relative_to(PACKAGE).as_posix() != "store/run_dir.py":
            assert 'output.log"' not in file.read_text(), file


def test_only_the_dask_executor_imports_distributed() -> None:
    for file in modules():
        if "dask" not in file.relative_to(PACKAGE).parts:
            assert not {"distributed", "dask"} & {n.split(".")[0] for n in imports(file)}, file


def imports_a_framework(file: Path) -> bool:
    """Whether importing a module imports the framework in whose folder it lies, as its docstring says then."""
    if not file.relative_to(PACKAGE).as_posix().startswith("frameworks/"):
        return False
    return "This imports " in (ast.get_docstring(ast.parse(file.read_text())) or "")


def test_frameworks_are_imported_inside_functions_only() -> None:
    """At the top of a module only where it says so, and such a one only by its like."""
    heavy = {
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
        for file in modules()
        if imports_a_framework(file)
    }
    for file in modules():
        if "callbacks" not in (file.stem, file.parent.name) and not imports_a_framework(file):
            assert not FRAMEWORKS & set(top_level_imports(file)), file
            own = ast.parse(file.read_text()).body
            named = {n.module for n in own if isinstance(n, ast.ImportFrom) and n.module}
            named |= {alias.name for n in own if isinstance(n, ast.Import) for alias in n.names}
            assert not heavy & named, file


def test_frameworks_are_imported_in_their_folders_only() -> None:
    for file in modules():
        if not file.relative_to(PACKAGE).as_posix().startswith("frameworks/"):
            assert not FRAMEWORKS & {name.split(".")[0] for name in imports(file)}, file


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_no_other_room_knows_a_framework_by_name(file: Path) -> None:
    """Code, texts, comments: what it wants of one, it asks `frameworks.registry` for."""
    place = file.relative_to(PACKAGE).as_posix()
    if any(place.startswith(f"frameworks/{name}/") for name in FOLDERS):
        return
    text = file.read_text().lower()
    if place in MAY_NAME_ONE:
        text = text.replace(MAY_NAME_ONE[place], "") if MAY_NAME_ONE[place] else ""
    assert not [word for word in (*sorted(FRAMEWORKS), "tf.data") if word in text]


def test_what_may_name_a_framework_does() -> None:
    for place, words in MAY_NAME_ONE.items():
        text = (PACKAGE / place).read_text().lower()
        assert words in text
        assert any(name in text for name in FRAMEWORKS)


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_name_with_an_underscore_is_its_modules_own(file: Path) -> None:
    """So what a module gives others are its other names; nobody has to keep lists of them."""
    tree = ast.parse(file.read_text())
    known: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dotrain"):
            names = [alias.name for alias in node.names]
            assert not [name for name in names if is_private(name)], node.module
            known |= {a.asname or a.name for a in node.names if is_module(node.module, a.name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert not (node.value.id in known and is_private(node.attr)), ast.unparse(node)


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def is_module(package: str | None, name: str) -> bool:
    place = PACKAGE.parent.joinpath(*(package or "").split("."), name)
    return place.is_dir() or place.with_suffix(".py").is_file()


def test_no_file_is_too_long() -> None:
    lines = {
        file.relative_to(PACKAGE).as_posix(): len(file.read_text().splitlines())
        for file in PACKAGE.rglob("*.py")
    }
    grown = {place: n for place, n in lines.items() if n > MOST_LINES}
    assert not grown, "cut them where a concept ends"


def test_no_circle_of_modules() -> None:
    """Imports inside of functions and for types alone are counted too; nothing here needs either.

    A package counts as what its own `__init__.py` imports: who imports one of its modules by name
    doesn't ask for the package.
    """
    files = {module_of(file).removesuffix(".__init__"): file for file in PACKAGE.rglob("*.py")}
    above = {
        name: {m for m in names_from(file, files) if m != name} for name, file in files.items()
    }
    assert above["dotrain.__main__"] == {"dotrain.cli", "sys"}
    assert "dotrain.report.ablation" in above["dotrain.cli"]  # a package, inside of a function
    while free := [name for name, others in above.items() if not others & above.keys()]:
        for name in free:
            del above[name]
    assert not above, "these, or what imports them, go round"


def names_from(file: Path, known: Collection[str]) -> Iterator[str]:
    """Yield the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in names)


@pytest.mark.parametrize("module", ["dotrain", "dotrain.experiment", "dotrain.runs.session"])
def test_no_module_of_the_driver_imports_a_framework(module: str) -> None:
    code = f"import sys, {module}; print(*{{n.split('.')[0] for n in sys.modules}})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not FRAMEWORKS & set(out.stdout.split())
