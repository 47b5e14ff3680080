"""The public face: what ``from dotrain import`` gives, to users and to their type checkers."""

from __future__ import annotations

import ast
import enum
import inspect
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest

import dotrain
from tests.conftest import ROOT

#: Neither abstract nor final, and why.
MAY_BE_DERIVED_FROM = {
    "DotrainError": "an error of a user's own may be one, and is then shown without a traceback",
    "EarlyStop": "what has stopped a train function is told by its subclasses",
}

CLASSES = [name for name in dotrain.__all__ if inspect.isclass(getattr(dotrain, name))]


def static_names() -> list[tuple[str, str]]:
    """Each name that a type checker finds, and the module it comes from."""
    tree = ast.parse((ROOT / "dotrain/__init__.py").read_text())
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


@pytest.mark.parametrize("name", dotrain.experiment.__all__)
def test_every_function_of_experiment_has_a_docstring(name: str) -> None:
    assert getattr(dotrain.experiment, name).__doc__
