"""The parts of an experiment from Python objects, checked as those of a config are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.ablation.builder import AblationStudy
from dotrain.ablation.runner import StudyRunner
from dotrain.config.ablate import StudyBuilder
from dotrain.config.arguments import budget_not_taken, names_taken, not_taken, reachable
from dotrain.config.cluster import make_executor
from dotrain.config.direction import judge
from dotrain.config.errors import dotted
from dotrain.config.schema import Cluster, Settings
from dotrain.config.source import Source
from dotrain.config.validation import validate_options, validate_settings
from dotrain.core.policy import AbstractOptimizer, Direction
from dotrain.errors import UsageError
from dotrain.executors.base import AbstractExecutor
from dotrain.frameworks import registry
from dotrain.space import Searchspace, plain_params
from dotrain.store.journal import to_json
from dotrain.usercode.by_value import GivenFunction, code_of, import_path, packages_among
from dotrain.usercode.function import Functions


@dataclass(frozen=True)
class GivenFunctions:
    """The functions of a call, with what their signatures tell.

    Attributes:
        train: The train function.
        model: Makes the model, or None.
        data: Makes the data, or None.
        models: Variants of the model, by name.
    """

    train: Callable[..., Any]
    model: Callable[..., Any] | None
    data: Callable[..., Any] | None
    models: Mapping[str, Callable[..., Any]]

    def described(
        self,
    ) -> tuple[GivenFunction, GivenFunction | None, GivenFunction | None, dict[str, GivenFunction]]:
        """Return them in this order, as one looks at the functions of a config."""
        model, data = (GivenFunction(f) if f else None for f in (self.model, self.data))
        models = {name: GivenFunction(function) for name, function in self.models.items()}
        return GivenFunction(self.train), model, data, models

    def names_taken(self) -> set[str] | None:
        """Return what these functions take by name, or None if that can't be told."""
        train, model, data, models = self.described()
        return names_taken((*reachable(train, model, data), *models.values()))

    def check(
        self, hparams: Mapping[str, Any], space: Searchspace, optimizer: AbstractOptimizer
    ) -> list[str]:
        """Return what these functions don't take, though a wrong result would come of it.

        Args:
            hparams: The fixed hyperparameters.
            space: What is searched.
            optimizer: What gives a budget, if it gives one.
        """
        taken = self.names_taken()
        faults = [
            f"{where}.{name}: {message}"
            for where, names in (("hparams", hparams), ("searchspace", space.names))
            for name in names
            if (message := not_taken(name, taken))
        ]
        train, model, data, _ = self.described()
        budget = budget_not_taken(train, [f for f in (model, data) if f], optimizer)
        return [*faults, *([budget] if budget else [])]


def plain_hparams(hparams: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fixed hyperparameters as a config would have them.

    Raises:
        UsageError: If a value can't be, with its name.
    """
    try:
        return plain_params(hparams or {})
    except TypeError as error:
        raise UsageError(f"hparams: {error}") from None


def runner_of(ablation: AblationStudy, settings: Settings, given: GivenFunctions) -> StudyRunner:
    """Return what runs a study.

    Args:
        ablation: What is left out.
        settings: The checked settings.
        given: The functions.

    Raises:
        UsageError: If a component would change nothing, or isn't known.
    """
    section = ablation.section()
    builder = StudyBuilder(settings, Source.of_data("lagom", {"ablation": section}))
    ablator = make_plugin(plugins.ABLATORS, section["ablator"])
    data = GivenFunction(given.data) if given.data else None
    study = builder.build(ablator, data, given.names_taken())
    for warning in builder.warnings:
        sys.stderr.write(f"warning: {dotted(warning.path)}: {warning.message}\n")
    if study is None:
        lines = [f"{dotted(problem.path)}: {problem.message}" for problem in builder.problems]
        raise UsageError("\n".join(lines))
    return StudyRunner(study, settings.seed)


def make_plugin(group: str, chosen: Any, key: str = "name") -> Any:
    """Return a plugin.

    Args:
        group: Its group of entry points.
        chosen: Its name, a mapping with its options, its class, or an instance.
        key: What names it in the mapping.

    Raises:
        UsageError: If there is none of that name, or its options are wrong.
    """
    if not isinstance(chosen, str | Mapping):
        instance = chosen() if isinstance(chosen, type) else chosen
        if not isinstance(instance, plugins.BASES[group]):
            raise UsageError(
                f"expected a name, a mapping or a dotrain.{plugins.BASES[group].__name__}, "
                f"got {chosen!r}"
            )
        plugins.check_interface(group, type(instance))
        return instance
    options = {key: chosen} if isinstance(chosen, str) else dict(chosen)
    plugin = plugins.load_plugin(group, str(options.pop(key, "")))
    instance, problems = validate_options(plugin, options, Source.of_data("lagom", options), ())
    if problems:
        raise UsageError("; ".join(f"{p.path[0] if p.path else ''}: {p.message}" for p in problems))
    return instance


def plugin_data(chosen: Any, plugin: object, key: str = "name") -> dict[str, Any]:
    """Return what a config would say of a plugin."""
    options = dict(chosen) if isinstance(chosen, Mapping) else {}
    cls = type(plugin)
    return {**json.loads(to_json(options)), key: f"{cls.__module__}:{cls.__qualname__}"}


def checked_settings(**sections: Any) -> Settings:
    """Return the config's settings of arguments that have the same names there."""
    source = Source.of_data("lagom", {"train": "lagom:train", **sections})
    settings, problems = validate_settings(source)
    problems += [
        source.problem(
            ("hparams", name), "this name is reserved: functions get something else by it"
        )
        for name in settings.hparams
        if name in Searchspace.RESERVED - {"budget"}
    ]
    if problems:
        lines = [f"{dotted(problem.path)}: {problem.message}" for problem in problems]
        raise UsageError("\n".join(lines))
    return settings


def executor_of(section: Cluster) -> AbstractExecutor:
    """Return the executor of a section that is sound by its structure.

    Raises:
        UsageError: If its kind isn't known or doesn't go with its keys.
    """
    executor, problems = make_executor(section, Source.of_data("lagom", {}), Path())
    if executor is None:
        lines = [f"{dotted(problem.path)}: {problem.message}" for problem in problems]
        raise UsageError("\n".join(lines))
    return executor


def judged_direction(
    metric: str, written: Direction | None, *, goes_on: bool, quiet: bool
) -> tuple[str, ...]:
    """Say what is to be said of a direction; return what was taken because nothing tells.

    Args:
        metric: The metric's name.
        written: The direction, or None if the call gives none.
        goes_on: Whether a run that began so goes on.
        quiet: Say nothing.

    Raises:
        UsageError: If the name tells another direction than would be taken.
    """
    found = judge(metric, written)
    if found.refusal and not goes_on:
        raise UsageError(f"metric: {found.refusal}")
    if not quiet:
        warning = found.warning or found.refusal
        lines = [f"warning: direction: {warning}\n"] if warning else []
        lines += [f"note: direction: {found.guess}\n"] if found.guess else []
        sys.stderr.writelines(lines)
    return ("direction max",) if found.guess else ()


def refuse(faults: Sequence[str], *, goes_on: bool, quiet: bool) -> None:
    """Refuse what gives a wrong result; in a run that goes on it is too late, and a warning.

    Args:
        faults: What is wrong, a line each.
        goes_on: Whether a run that began so goes on.
        quiet: Say nothing.

    Raises:
        UsageError: With all faults.
    """
    if faults and not goes_on:
        raise UsageError("\n".join(faults))
    if not quiet:
        sys.stderr.writelines(f"warning: {fault}\n" for fault in faults)


def functions_of(given: GivenFunctions) -> Functions:
    """Return the user's functions as what can be sent to workers."""
    train, model, data, models = given.described()
    every = [function for function in (train, model, data, *models.values()) if function]
    return Functions.of(
        *(train, model, data, models),
        packages=packages_among(registry.names(), every),
        code=code_of(every),
        path=import_path(),
    )
