"""How the user's code gets to a worker, and which code it runs."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from dotrain.errors import UsageError
from dotrain.training.program import LoadedProgram, Program, load_program
from dotrain.usercode.archive import Code
from dotrain.usercode.closure import find_closure
from dotrain.usercode.function import Functions
from dotrain.usercode.target import find_target
from tests.conftest import Project


@pytest.fixture(autouse=True)
def untouched_modules(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def load(project: Project, spec: str = "mycode/main.py:train") -> LoadedProgram:
    target = find_target(spec, project.path)
    code = Code.of(find_closure([target]).files)
    functions = Functions(target.reference(), code=code)
    return load_program(Program("token", functions, "score", {}, "/nowhere"))


def write(project: Project, value: int) -> None:
    project.write(
        "mycode/main.py", "from mycode.parts import inner\ndef train(): return inner.VALUE"
    )
    project.write("mycode/__init__.py", "")
    project.write("mycode/parts/__init__.py", "")
    project.write("mycode/parts/inner.py", f"VALUE = {value}")


def test_a_package_that_shadows_the_standard_library_is_loaded_by_its_place(
    project: Project,
) -> None:
    project.write("random.py", "def train(): return 'mine'")
    assert load(project, "random.py:train").train() == "mine"
    assert sys.modules["random"] is random


def test_code_that_has_changed_is_loaded_anew_with_everything_it_imports(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(project.path))
    for value in (1, 2):
        write(project, value)
        assert load(project).train() == value


def test_a_worker_that_does_not_see_the_files_runs_the_code_that_came_with_the_program(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("helper.py", "VALUE = 7")
    project.write("main.py", "import helper\ndef train(): return helper.VALUE, __file__")
    target = find_target("main.py:train", project.path)
    code = Code.of(find_closure([target]).files)
    project.write("helper.py", "VALUE = 8")  # not what the driver read
    functions = Functions(target.reference(), code=code)
    program = Program("token", functions, "score", {}, "/nowhere")
    value, file = load_program(program).train()
    assert value == 7
    assert not Path(file).is_relative_to(project.path)


def test_equal_code_gives_an_equal_archive(project: Project) -> None:
    write(project, 1)
    files = find_closure([find_target("mycode/main.py:train", project.path)]).files
    assert Code.of(files).archive == Code.of(dict(reversed(files.items()))).archive


def test_a_function_that_is_not_there_is_named(project: Project) -> None:
    project.write("main.py", "train = 3")
    with pytest.raises(UsageError, match=r"main\.py has no function 'train'"):
        load(project, "main.py:train")
