"""Functions given by value are described as those are that a config names, and take their code along."""

from __future__ import annotations

import functools
import importlib
import linecache
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from dotrain.errors import UsageError
from dotrain.optimizers.random import RandomSearch
from dotrain.usercode.archive import Code, digests_in
from dotrain.usercode.by_value import GivenFunction, closure_of, packed
from dotrain.usercode.function import Described, FunctionRef, Functions
from dotrain.usercode.load import load_function
from dotrain.usercode.target import find_target
from tests.conftest import Project

SOURCE = '''\
def train(lr, opt, *, momentum=0.0, **others):
    """Train."""
    return lr
'''


def imported(project: Project, monkeypatch: pytest.MonkeyPatch, source: str = SOURCE) -> Any:
    project.write("given_by_value.py", source)
    monkeypatch.syspath_prepend(str(project.path))
    monkeypatch.delitem(sys.modules, "given_by_value", raising=False)
    return importlib.import_module("given_by_value")


def cell(source: str, name: str = "train") -> Callable[..., Any]:
    """A function of a notebook's cell, as IPython makes it."""
    file = f"<ipython-input-{hash(source)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), names)
    function = names[name]
    assert callable(function)
    return function  # type: ignore[no-any-return]


def code_of(*functions: GivenFunction) -> Code:
    closure = closure_of(functions, ())
    return Code.of(closure.files, closure.texts)


def test_a_function_is_described_alike_by_value_and_by_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    given = GivenFunction(imported(project, monkeypatch).train)
    named = find_target("given_by_value.py:train", project.path)
    described: list[Described] = [given, named]
    one, other = ((f.function, f.file, f.signature()) for f in described)
    assert one == other


def test_of_what_has_no_def_little_can_be_told():
    class Callable:
        def __call__(self, lr: float) -> float:
            return lr

    assert GivenFunction(Callable()).function == "Callable"
    assert GivenFunction(Callable()).file is None
    signature = GivenFunction(Callable()).signature()
    assert signature is not None
    assert signature.names == {"lr"}
    assert GivenFunction(dict).signature() is None


def test_a_function_of_a_cell_reaches_a_worker_with_its_source():
    source = "def train(lr):\n    import colorsys\n    return 2 * lr\n"
    given = GivenFunction(cell(source))
    assert given.file is None
    assert load_function(given.reference(), None)(4) == 8
    assert list(code_of(given).files) == ["train.py"]
    assert given.source() == source


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path):
    functions = []
    for folder in ("a", "b"):
        file = tmp_path / folder / "user.py"
        file.parent.mkdir()
        file.write_text(f"def f():\n    return '{folder}'\n")
        names: dict[str, Any] = {}
        exec(compile(file.read_text(), str(file), "exec"), names)
        functions.append(GivenFunction(names["f"]))
    assert set(digests_in(code_of(*functions).archive)) == {"user.py", "b/user.py"}


def test_packages_are_those_loaded_and_those_that_a_source_names():
    function = GivenFunction(cell("def train():\n    import not_loaded.inner\n    return 1\n"))
    known = ("not_loaded", "pytest", "neither")
    assert closure_of([function], known).packages == {"not_loaded", "pytest"}
    assert closure_of([GivenFunction(dict)], known).packages == {"pytest"}


def test_functions_of_files_and_by_value_go_to_workers_as_one_thing(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    given = GivenFunction(imported(project, monkeypatch).train)
    named = find_target("given_by_value.py:train", project.path)
    functions = Functions.of(
        named, given, None, {"small": named}, packages={"b", "a"}, code=code_of(given)
    )
    by_file = FunctionRef("train", "given_by_value", str(project.path), "given_by_value.py")
    assert (functions.train, functions.models, functions.data) == (
        by_file,
        {"small": by_file},
        None,
    )
    assert functions.model is not None
    assert functions.model.pickled
    assert functions.packages == ("a", "b")


def test_an_object_takes_its_class_along_if_that_is_the_users(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    own = imported(project, monkeypatch, "class Own:\n    value = 3\n").Own()
    taken, installed = packed(own), packed(RandomSearch())
    del sys.modules["given_by_value"]
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(project.path)])
    assert cloudpickle.loads(taken).value == 3
    assert type(cloudpickle.loads(installed)) is RandomSearch


def test_an_object_takes_along_what_its_class_is_made_of(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    project.write("given_base.py", "import json\nclass Base:\n    value = 3\n")
    project.write("given_helper.py", "def more():\n    return 4\n")
    source = "import given_helper\nfrom given_base import Base\nclass Own(Base):\n"
    own = imported(project, monkeypatch, f"{source}    more = lambda self: given_helper.more()\n")
    taken = packed(own.Own())
    for name in ("given_by_value", "given_base", "given_helper"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(project.path)])
    loaded = cloudpickle.loads(taken)
    assert (loaded.value, loaded.more()) == (3, 4)


def test_what_can_not_be_sent_is_named() -> None:
    lock = threading.Lock()

    def train(x):
        return x if lock.locked() else 0

    with pytest.raises(
        UsageError, match=r"train\(\) can't be sent .* 'lock', TypeError: .* module and"
    ):
        GivenFunction(train).reference()


def test_of_a_decorated_function_what_is_behind_the_decorator_goes_along(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    own = imported(project, monkeypatch).train

    class Wrapped:
        def __init__(self) -> None:
            functools.update_wrapper(self, own)

        def __call__(self, **given: Any) -> Any:
            return own(**given)

    for value in (functools.lru_cache(own), Wrapped()):
        given = GivenFunction(value)
        assert given.function == "train"
        assert given.file == project.path / "given_by_value.py"
        assert list(code_of(given).files) == ["given_by_value.py"]


def test_functions_of_dotrain_itself_are_not_taken_along():
    assert not code_of(GivenFunction(closure_of)).files
