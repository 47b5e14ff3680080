"""The functions and plugins of a config: found by their names, or given by value in a call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.config.errors import Path as KeyPath
from dotrain.config.errors import Problem
from dotrain.config.schema import Distribution
from dotrain.config.section import Plugin
from dotrain.config.source import Source
from dotrain.config.validation import validate_options
from dotrain.errors import UsageError
from dotrain.frameworks import registry
from dotrain.usercode.by_value import GivenFunction, closure_of
from dotrain.usercode.closure import Closure, find_closure
from dotrain.usercode.function import Described
from dotrain.usercode.target import Target, find_target, refuse_lone_module, target_of


@dataclass(frozen=True)
class Given:
    """What a call from Python gives by value, each by where a config would name it.

    Attributes:
        functions: The user's functions.
        plugins: Instances of plugins, or classes that need no options.
    """

    functions: Mapping[KeyPath, GivenFunction]
    plugins: Mapping[KeyPath, object]


@dataclass
class Parts:
    """Finds the functions and makes the plugins; what can't be had is None, and a problem.

    Attributes:
        source: Where everything stands.
        folder: Where paths in the config start from.
        code: Where an earlier run's code has been unpacked, which is then meant and no other.
        given: What a call gives; None for a config.
        problems: What was wrong.
    """

    source: Source
    folder: Path
    code: Path | None = None
    given: Given | None = None
    problems: list[Problem] = field(default_factory=list)

    def function(self, path: KeyPath, spec: str | None) -> Described | None:
        """Return the user's function that a key names.

        Args:
            path: The key.
            spec: Its value.
        """
        if self.given is not None:
            return self.given.functions.get(path)
        return None if spec is None else self.named(path, spec)

    def named(self, path: KeyPath, spec: str) -> Target | None:
        """Return the user's function of a name, which a call gives by name too.

        Args:
            path: The key.
            spec: Its value.
        """
        try:
            target = find_target(spec, self.folder, self.code)
            target.signature()
            refuse_lone_module(target, self.folder, self.code)
            return target
        except UsageError as error:
            self.problems.append(self.source.problem(path, str(error)))
            return None

    def plugin(self, group: str, path: KeyPath, section: Plugin | Distribution) -> Any:
        """Return the plugin that a section names.

        Args:
            group: Its group of entry points.
            path: Its section.
            section: The same, checked.
        """
        if self.given is not None and path in self.given.plugins:
            return self._checked(group, self.given.plugins[path], path)
        key = "name" if isinstance(section, Plugin) else "strategy"
        # A call means what Python would import.
        folder = None if self.given is not None else self.code or self.folder
        if group == plugins.OBSERVERS and folder is not None:
            folder = self.folder  # whichever code runs, they are no part of it
        try:
            plugin = plugins.load_plugin(group, getattr(section, key), folder)
        except UsageError as error:
            advice = "; no run keeps the code of its observers: --set observers=[] leaves them out"
            is_lost = self.code is not None and group == plugins.OBSERVERS
            message = f"{error}{advice * is_lost}"
            self.problems.append(self.source.problem((*path, key), message))
            return None
        instance, problems = validate_options(plugin, section.options, self.source, path, key)
        self.problems += problems
        return instance

    def _checked(self, group: str, chosen: object, path: KeyPath) -> object:
        base = plugins.BASES[group]
        try:
            instance = chosen() if isinstance(chosen, type) else chosen
            if not isinstance(instance, base):
                expected = f"a name, a mapping or a dotrain.{base.__name__}"
                raise UsageError(f"expected {expected}, got {chosen!r}")
            plugins.check_interface(group, type(instance))
            return instance
        except UsageError as error:
            self.problems.append(self.source.problem(path, str(error)))
            return None

    def closure(self, functions: Iterable[Described], made: Iterable[object]) -> Closure:
        """Return the user's files behind functions and plugins.

        Args:
            functions: The functions.
            made: The plugins; those of a call are pickled with their code.
        """
        if self.given is not None:
            return closure_of([*self.given.functions.values()], registry.names())
        places = [*functions, *(target_of(type(plugin)) for plugin in made)]
        return find_closure(place for place in places if isinstance(place, Target))
