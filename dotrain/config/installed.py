"""What the environment can't do: packages that the code and the strategy need, and that aren't there."""

from __future__ import annotations

import os
from collections.abc import Iterator

from dotrain.config.errors import Problem
from dotrain.config.source import Source
from dotrain.core.strategy import AbstractStrategy
from dotrain.executors.base import AbstractExecutor
from dotrain.frameworks import registry
from dotrain.usercode.closure import Closure
from dotrain.usercode.imports import is_there, only_here


def missing_packages(
    closure: Closure, strategy: AbstractStrategy, executor: AbstractExecutor, source: Source
) -> tuple[list[Problem], list[Problem]]:
    """Return what the code and the strategy need and this machine hasn't got, if trials run on it.

    Args:
        closure: The user's files.
        strategy: How a trial spans workers.
        executor: Where trials run.
        source: Where the config stands.

    Returns:
        Problems, of what no trial can run without, and what a person should know.
    """
    if not executor.runs_on_this_machine or executor.is_virtual:
        return [], []  # each worker is asked, or nothing is trained
    problems, warnings = _of_code(closure, source)
    return [*_of_strategy(strategy, source), *problems], warnings


def _of_strategy(strategy: AbstractStrategy, source: Source) -> Iterator[Problem]:
    missing = [name for name in strategy.packages if not is_there(name)]
    if missing:
        name = type(strategy).__name__
        message = f"{name} needs {', '.join(missing)}: {registry.how_to_install(missing[0])}"
        yield source.problem(("distribution", "strategy"), message)


def _of_code(closure: Closure, source: Source) -> tuple[list[Problem], list[Problem]]:
    # Of those in the current folder other words are said.
    python_path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = (*closure.path, *_folders(closure), *python_path)
    missing = [name for name in closure.needed if not is_there(name, path)]
    missing = [name for name in missing if name not in only_here(missing, "")]
    problems: list[Problem] = []
    warnings: list[Problem] = []
    for name in missing:
        is_certain = name in closure.certain
        place = (closure.certain if is_certain else closure.needed)[name]
        what = "" if is_certain else ", and fails if that line is reached"
        message = (
            f"{place}: '{name}' is imported and isn't installed{what}: "
            f"{registry.how_to_install(name)}"
        )
        (problems if is_certain else warnings).append(source.problem(("train",), message))
    return problems, warnings


def _folders(closure: Closure) -> set[str]:
    """Return the folders of the code: modules that aren't read may lie there, such as compiled ones."""
    roots = (file.parents[name.count("/")] for file, name in closure.files.items())
    return {str(folder) for folder in (*roots, *(file.parent for file in closure.files))}
