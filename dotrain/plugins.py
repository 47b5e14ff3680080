"""Finding plugins: registered names and ``package.module:Class``.

Built-in plugins are entry points like everybody else's. One that fails to load is reported when
it is asked for and disturbs nobody before that.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from dotrain.abc import (
    AbstractAblator,
    AbstractEarlyStop,
    AbstractExecutor,
    AbstractFramework,
    AbstractOptimizer,
    AbstractStrategy,
    Observer,
)
from dotrain.core.interface import broken_method
from dotrain.errors import UsageError, did_you_mean

OPTIMIZERS = "dotrain.optimizers"
EARLY_STOP = "dotrain.early_stop"

STRATEGIES = "dotrain.strategies"
ABLATORS = "dotrain.ablators"
EXECUTORS = "dotrain.executors"
OBSERVERS = "dotrain.observers"

#: An executor of this name is the one for every dotted path.
DOTTED = "package.module.Class"
FRAMEWORKS = "dotrain.frameworks"

BASES: dict[str, type] = {
    OPTIMIZERS: AbstractOptimizer,
    EARLY_STOP: AbstractEarlyStop,
    STRATEGIES: AbstractStrategy,
    ABLATORS: AbstractAblator,
    EXECUTORS: AbstractExecutor,
    OBSERVERS: Observer,
    FRAMEWORKS: AbstractFramework,
}
_KINDS = {
    OPTIMIZERS: "optimizer",
    EARLY_STOP: "early-stop rule",
    STRATEGIES: "strategy",
    ABLATORS: "ablator",
    EXECUTORS: "executor",
    OBSERVERS: "observer",
    FRAMEWORKS: "framework",
}

#: Maggy's names, which the deck uses, and places that runs of earlier versions have written down.
_ALIASES = {
    **{"randomsearch": "random", "gridsearch": "grid", "singlerun": "single"},
    "dotrain.distribution.mirrored:mirrored": "mirrored",
    "dotrain.distribution.multi_worker:multiworkermirrored": "multi_worker_mirrored",
}


@cache
def registered(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name.

    Raises:
        UsageError: If two installed packages register the same name for different objects.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise UsageError(
                f"two packages register the {_KINDS[group]} '{point.name}': "
                f"{other.value} and {point.value}; uninstall one, or name yours module:Class"
            )
    return found


@dataclass(frozen=True)
class Found:
    """A plugin that an installed package registers, usable or not.

    Attributes:
        name: The registered name.
        place: ``module:Class``.
        package: The installed package, or the module's first part if that isn't known.
        version: Of the package, if known.
        plugin: The class, or None if it can't be used.
        error: Why it can't.
    """

    name: str
    place: str
    package: str
    version: str
    plugin: type[Any] | None
    error: str


def find_plugins(group: str) -> list[Found]:
    """Return every registered plugin of a group, our own first; one that is broken says so."""
    points = {(point.name, point.value): point for point in entry_points(group=group)}
    names = [name for name, _ in points]
    found = [_look_at(group, point, names.count(point.name) > 1) for point in points.values()]
    return sorted(found, key=lambda each: (each.package != "dotrain", each.name, each.place))


def _look_at(group: str, point: EntryPoint, is_double: bool) -> Found:
    plugin, error = None, ""
    try:
        # What a module prints while it is imported is no result of ours.
        with contextlib.redirect_stdout(sys.stderr):
            plugin = load_plugin(group, point.value)
    except UsageError as failure:
        error = str(failure)
    if is_double and plugin is not None:
        plugin, error = None, "another package registers this name too; uninstall one of them"
    package = point.dist.name if point.dist else point.value.split(".")[0].split(":")[0]
    version = point.dist.version if point.dist else ""
    return Found(point.name, point.value, package, version, plugin, error)


def other_names(name: str) -> list[str]:
    """Return the names, in any case, that a registered name also goes by."""
    return [alias for alias, target in _ALIASES.items() if target == name]


def load_plugin(group: str, name: str, folder: Path | None = None) -> type[Any]:
    """Return the class of a plugin.

    Args:
        group: One of `BASES`.
        name: A registered name, or ``package.module:Class``.
        folder: A module is looked for here and in each folder above before Python's own path.

    Raises:
        UsageError: If there is no such plugin, or it is none of that kind, or can't be imported.
    """
    kind = _KINDS[group]
    name = _ALIASES.get(name.lower(), name)
    if ":" not in name:
        points = registered(group)
        if group == EXECUTORS and "." in name:
            name = DOTTED
        if name not in points:
            hint = did_you_mean(name, [known for known in points if known != DOTTED])
            if group == EXECUTORS:
                other = f"a Dask cluster class, {DOTTED}"
                raise UsageError(f"unknown kind '{name}'{hint} (or {other})")
            raise UsageError(f"unknown {kind} '{name}'{hint} (or module:Class)")
        name = points[name].value
    module_name, _, attribute = name.partition(":")
    if folder is not None:
        _make_importable(module_name.split(".")[0], folder)
    try:
        plugin = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"{kind} '{name}' can't be loaded: {error}") from None
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{kind} '{name}' can't be loaded: {type(error).__name__}: {error}"
        ) from error
    base = BASES[group]
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise UsageError(f"{kind} '{name}' is no subclass of dotrain.{base.__name__}")
    if inspect.isabstract(plugin):
        missing = ", ".join(sorted(getattr(plugin, "__abstractmethods__", ())))
        raise UsageError(f"{kind} '{name}' can't be used: it lacks {missing}")
    check_interface(group, plugin)
    return plugin


def check_interface(group: str, plugin: type[Any]) -> None:
    """Refuse a plugin whose methods can't be called as its interface's are.

    Args:
        group: Its group.
        plugin: The class.

    Raises:
        UsageError: With the first such method, its line and what is expected.
    """
    if fault := broken_method(plugin, BASES[group]):
        raise UsageError(f"{_KINDS[group]} '{plugin.__qualname__}' can't be used: {fault}")


def _make_importable(module: str, folder: Path) -> None:
    for place in (folder.resolve(), *folder.resolve().parents):
        if (place / f"{module}.py").is_file() or (place / module / "__init__.py").is_file():
            if str(place) not in sys.path:
                sys.path.insert(0, str(place))
            return
