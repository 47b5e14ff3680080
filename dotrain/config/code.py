"""What is wrong with the user's files as a whole, whichever function each belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dotrain.config.errors import Problem
from dotrain.config.source import Source
from dotrain.errors import UsageError
from dotrain.frameworks import registry
from dotrain.usercode.closure import Closure
from dotrain.usercode.imports import only_here


def code_problems(closure: Closure, source: Source) -> Iterator[Problem]:
    """Yield files that the archive would lose, modules that trials wouldn't find, broken frameworks."""
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
    try:
        registry.of(closure.packages)
    except UsageError as error:
        yield source.problem(("train",), str(error))
