"""What is wrong with the user's files as a whole, whichever function each belongs to."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from dotrain.config.errors import Problem
from dotrain.config.source import Source
from dotrain.errors import UsageError
from dotrain.frameworks import registry
from dotrain.usercode.closure import Closure
from dotrain.usercode.imports import only_here


def code_problems(closure: Closure, source: Source) -> Iterator[Problem]:
    """Yield files that the archive would lose, modules and names that trials wouldn't find, broken frameworks."""
    known: dict[str, Path] = {}
    beside = ((file, name) for name, file in closure.data.items())
    for file, name in (*closure.files.items(), *beside):
        other = known.setdefault(name, file)
        if other != file and other.read_bytes() != file.read_bytes():
            message = (
                f"{other} and {file} would both be {name} in the run's archive of the code; "
                "rename one, or name both by a path below one folder"
            )
            yield source.problem(("train",), message)
    for name, words in only_here(closure.needed, "the file that imports it").items():
        yield source.problem(("train",), f"{closure.needed[name]}: {words}")
    for (module, name), place in closure.ours.items():
        if message := _lacks(module, name):
            yield source.problem(("train",), f"{place}: {message}")
    try:
        registry.of(closure.packages)
    except UsageError as error:
        yield source.problem(("train",), str(error))


def _lacks(module: str, name: str) -> str:
    """Return what importing a name from a module of ours would say, without importing any framework; ``""`` if it is there."""
    owner = importlib.import_module(module)
    is_package = hasattr(owner, "__path__")
    if name == "*" or name in dir(owner) or (is_package and find_spec(f"{module}.{name}")):
        return ""
    try:
        getattr(owner, name)
    except (ImportError, AttributeError) as error:
        return str(error)
    return ""
