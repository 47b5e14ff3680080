"""The public face: what ``from dotrain import`` gives, to users and to their type checkers."""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, get_args, get_type_hints

import pytest

import dotrain
from dotrain import abc, callbacks, plugins, testing
from tests.conftest import ROOT

#: Neither abstract nor final, and why.
MAY_BE_DERIVED_FROM = {
    "DotrainError": "an error of a user's own may be one, and is then shown without a traceback",
    "Observer": "an observer overrides only what it wants to hear of",
    "EarlyStop": "what has stopped a train function is told by its subclasses",
}

CLASSES = [name for name in dotrain.__all__ if inspect.isclass(getattr(dotrain, name))]


def static_names(module: str = "__init__") -> list[tuple[str, str]]:
    """Each name that a type checker finds, and the module it comes from."""
    tree = ast.parse((ROOT / f"dotrain/{module}.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    found = []
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, f"{alias.name} is not exported without `as`"
                found.append((alias.name, str(node.module)))
    return found


def test_every_list_of_the_names_is_the_same() -> None:
    static = static_names()
    homes = {(name, f"dotrain.{home}") for name, home in dotrain._HOMES.items()}
    assert sorted(static) == sorted({*homes, ("experiment", "dotrain")})
    assert sorted(name for name, _ in static) == dotrain.__all__
    assert [name for name in dir(dotrain) if not name.startswith("_")] == dotrain.__all__


def test_the_package_tells_its_version_and_no_other_name() -> None:
    assert dotrain.__version__ == version("dotrain")
    assert "__version__" in dir(dotrain)
    with pytest.raises(AttributeError, match="no attribute 'lagom'"):
        _ = dotrain.lagom  # type: ignore[attr-defined]


def test_a_star_gives_every_name() -> None:
    given: dict[str, Any] = {}
    exec("from dotrain import *", given)
    assert sorted(given.keys() - {"__builtins__"}) == dotrain.__all__


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = "import sys, dotrain; dir(dotrain); print(*(n for n in sys.modules if 'dotrain.' in n))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_is_made_to_be_derived_from_or_says_that_it_is_not(name: str) -> None:
    found = getattr(dotrain, name)
    is_final = getattr(found, "__final__", False) and "__final__" in vars(found)
    kinds = [inspect.isabstract(found), is_final, name in MAY_BE_DERIVED_FROM]
    assert kinds.count(True) == 1
    assert inspect.isabstract(found) or not name.startswith("Abstract")


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_and_its_public_functions_have_a_docstring(name: str) -> None:
    found = getattr(dotrain, name)
    assert found.__doc__
    # What dataclasses and named tuples make up when there is none.
    assert not found.__doc__.startswith(f"{name}(")
    if issubclass(found, enum.Enum):
        return
    for attribute, value in vars(found).items():
        inner = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if inspect.isfunction(inner) and not attribute.startswith("_"):
            assert inner.__doc__, f"{name}.{attribute}"


@pytest.mark.parametrize("name", ["abc", "experiment", "testing"])
def test_a_public_module_shows_its_names_and_no_others(name: str) -> None:
    module = importlib.import_module(f"dotrain.{name}")
    assert dir(module) == sorted(module.__all__)
    for public in (getattr(module, each) for each in module.__all__):
        assert public.__doc__ or public is abc.Post


def test_every_list_of_the_callbacks_is_the_same() -> None:
    static = static_names("callbacks")
    homes = {(name, f"dotrain.frameworks.{home}") for name, home in callbacks._HOMES.items()}
    assert sorted(static) == sorted(homes)
    assert dir(callbacks) == callbacks.__all__ == sorted(name for name, _ in static)


def test_importing_the_callbacks_imports_no_framework() -> None:
    code = "import sys, dotrain.callbacks as c; dir(c); print(*(n for n in sys.modules if 'dotrain.' in n))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["dotrain.callbacks"]


@pytest.mark.parametrize("name", callbacks.__all__)
def test_a_callback_that_is_looked_for_in_dotrain_says_where_it_is(name: str) -> None:
    with pytest.raises(ImportError, match=f"'{name}' isn't in dotrain: from dotrain.callbacks"):
        exec(f"from dotrain import {name}")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KerasEpochEnds", "KerasEpochEnd"),
        ("kerasEpochEnd", None),
        ("LightningCallback", "LightningCheckpoint, LightningReport"),
        ("XgboostReport", "XGBoostReport"),
        ("Nothing", None),
    ],
)
def test_a_near_miss_of_a_callback_says_what_may_be_meant(name: str, meant: str | None) -> None:
    expected = f"did you mean: from dotrain.callbacks import {meant}" if meant else "cannot import"
    with pytest.raises(ImportError, match=expected):
        exec(f"from dotrain import {name}")
    shown = f"did you mean {meant.replace(', ', ' or ')}" if meant else "cannot import"
    with pytest.raises(ImportError, match=shown):
        exec(f"from dotrain.callbacks import {name}")


def test_a_callback_without_its_framework_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, package, extra in [
        ("LightningReport", "lightning", "lightning"),
        ("KerasEpochEnd", "keras", "tensorflow"),
        ("SklearnSteps", "sklearn", "sklearn"),
    ]:
        home = f"dotrain.frameworks.{callbacks._HOMES[name]}"
        monkeypatch.delitem(sys.modules, home, raising=False)
        monkeypatch.delitem(vars(callbacks), name, raising=False)
        for module in [one for one in sys.modules if one.split(".")[0] == package]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, package, None)
        told = rf"{name} needs {package}, .* pip install 'dotrain\[{extra}\]'"
        with pytest.raises(ModuleNotFoundError, match=told):
            getattr(callbacks, name)


def ours(annotation: Any) -> Iterator[type]:
    """Yield the classes of dotrain that an annotation names, in whatever it is made of."""
    if isinstance(annotation, type) and annotation.__module__.startswith("dotrain."):
        yield annotation
    for part in get_args(annotation):
        if not isinstance(part, enum.Enum):
            yield from (
                each for one in (part if isinstance(part, list) else [part]) for each in ours(one)
            )


@pytest.mark.parametrize("base", plugins.BASES.values(), ids=lambda base: base.__name__)
def test_an_interface_is_public_with_all_that_goes_through_it(base: type) -> None:
    assert getattr(abc, base.__name__) is getattr(dotrain, base.__name__) is base
    names = {*abc.__all__, *dotrain.__all__}
    methods = [f for n, f in inspect.getmembers(base, inspect.isfunction) if not n.startswith("_")]
    assert methods
    for method in methods:
        for annotation in get_type_hints(method).values():
            assert {one.__name__ for one in ours(annotation)} <= names, method


def test_every_interface_has_a_kit_and_some_are_provisional() -> None:
    kits = {}
    for name in testing.__all__:
        if name.startswith("check_"):
            kit = getattr(testing, name)
            (base,) = ours(get_type_hints(kit)["make"])
            kits[base] = "provisional" in kit.__doc__.split("\n")[0]
    settled = {dotrain.AbstractOptimizer, dotrain.AbstractEarlyStop, dotrain.AbstractAblator}
    bases = {*plugins.BASES.values(), abc.AbstractSampler}
    assert kits == {base: base not in settled for base in bases}


@pytest.mark.parametrize("name", dotrain.experiment.__all__)
def test_every_function_of_experiment_has_a_docstring(name: str) -> None:
    assert getattr(dotrain.experiment, name).__doc__
