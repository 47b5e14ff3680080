"""Finding frameworks: by entry point, each loaded when its package is imported.

The list that a function returns ends in `NONE`, which takes what no framework takes.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from dotrain.errors import UsageError
from dotrain.frameworks.base import AbstractFramework
from dotrain.frameworks.none import NoFramework
from dotrain.plugins import FRAMEWORKS, find_plugins, load_plugin, registered

NONE = NoFramework()

#: Code that imports nothing else uses no framework.
_PLAIN = {*sys.stdlib_module_names, "numpy"}


def names() -> list[str]:
    """Return the packages for which a framework is registered."""
    return sorted(registered(FRAMEWORKS))


@cache
def _make(place: str) -> AbstractFramework:
    framework: AbstractFramework = load_plugin(FRAMEWORKS, place)()
    return framework


def of(packages: Collection[str]) -> list[AbstractFramework]:
    """Return the frameworks of some packages, each once.

    Raises:
        UsageError: If one can't be loaded.
    """
    points = registered(FRAMEWORKS)
    places = dict.fromkeys(points[name].value for name in names() if name in packages)
    return [*map(_make, places), NONE]


def loaded() -> list[AbstractFramework]:
    """Return the frameworks that this process has imported."""
    return of(sys.modules)


def in_use(packages: Collection[str]) -> list[AbstractFramework]:
    """Return the frameworks of a program, whatever else the process has imported.

    Those that it names. Where it names none and imports packages that may do so in its place, such
    as an installed one with the user's own functions: those that the process has imported.

    Args:
        packages: What the user's code and its strategy import.
    """
    named = of(packages)
    return named if len(named) > 1 or _PLAIN.issuperset(packages) else loaded()


def of_model(model: Any) -> AbstractFramework:
    """Return the framework that a model is of."""
    return next((one for one in loaded() if one.is_model(model)), NONE)


def every() -> list[AbstractFramework]:
    """Return all frameworks but those that can't be loaded; this imports none of them."""
    places = dict.fromkeys(each.place for each in find_plugins(FRAMEWORKS) if each.plugin)
    return [*map(_make, places), NONE]


def how_to_install(package: str) -> str:
    """Return what to do to have a package: the name that pip knows may be another one.

    Args:
        package: What users import.
    """
    try:
        framework = of({package})[0]
    except UsageError:  # what is broken about its plugin is said elsewhere
        framework = NONE
    name = framework.requirement or " ".join(framework.distributions)
    if not name:
        return "install the package that has it"
    return f"pip install '{name}'" if "[" in name else f"pip install {name}"


def import_packages(packages: Iterable[str]) -> None:
    """Import the frameworks that the user's code names.

    A train function that imports one inside would else run its first trial on a worker unseeded and
    the next ones seeded. One that can't be imported is passed over: the user's own line says so next.
    """
    for framework in of(set(packages)):
        for name in framework.packages:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def environment() -> dict[str, str]:
    """Return the environment variables that frameworks want in a process that trains."""
    return {name: word for one in every() for name, word in one.environment().items()}


def threads(count: int) -> dict[str, str]:
    """Return the environment variables that keep the thread pools of all to `count` threads."""
    return {name: word for one in every() for name, word in one.threads(count).items()}
