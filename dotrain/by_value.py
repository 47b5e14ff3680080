"""The parts of an experiment from Python objects, checked as those of a config are."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.ablation.builder import AblationStudy
from dotrain.ablation.runner import StudyRunner
from dotrain.config.ablate import StudyBuilder
from dotrain.config.errors import dotted
from dotrain.config.schema import Settings
from dotrain.config.source import Source
from dotrain.config.target import Signature
from dotrain.config.validation import validate_options, validate_settings
from dotrain.definition import Functions
from dotrain.errors import UsageError
from dotrain.space import Searchspace
from dotrain.store.journal import to_json
from dotrain.training.program import Code, FunctionRef
from dotrain.training.seeding import SEEDED


class _Described:
    """A function given by value, as `StudyBuilder` looks at it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._signature = inspect.signature(function)
        self.function = getattr(function, "__name__", type(function).__name__)
        self.file: Path | None = None

    def signature(self) -> Signature:
        """Return its arguments."""
        parameters = self._signature.parameters.values()
        return Signature(
            required=tuple(p.name for p in parameters if p.default is p.empty),
            optional=tuple(p.name for p in parameters if p.default is not p.empty),
            takes_any=any(p.kind is p.VAR_KEYWORD for p in parameters),
            line=0,
        )


def runner_of(
    ablation: AblationStudy, settings: Settings, functions: Mapping[str, Callable[..., Any] | None]
) -> StudyRunner:
    """Return what runs a study.

    Args:
        ablation: What is left out.
        settings: The checked settings.
        functions: The train function and the others, by their keys in a config.

    Raises:
        UsageError: If a component would change nothing, or isn't known.
    """
    described = {key: _Described(f) if f else None for key, f in functions.items()}
    models = {name: _Described(function) for name, function in ablation.variants.items()}
    section = ablation.section()
    builder = StudyBuilder(settings, Source.of_data("lagom", {"ablation": section}))
    ablator = make_plugin(plugins.ABLATORS, section["ablator"])
    study = builder.build(ablator, described, models)
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


def functions_of(
    train: Callable[..., Any],
    model: Callable[..., Any] | None,
    data: Callable[..., Any] | None,
    models: Mapping[str, Callable[..., Any]],
) -> Functions:
    """Return the user's functions as what can be sent to workers.

    Args:
        train: The train function.
        model: Makes the model, or None.
        data: Makes the data, or None.
        models: Variants of the model, by name.
    """
    # By value: `__main__` and notebook cells can't be imported by a worker.
    import cloudpickle

    def ref(function: Callable[..., Any] | None) -> FunctionRef | None:
        if function is None:
            return None
        name = getattr(function, "__name__", type(function).__name__)
        return FunctionRef(name, pickled=cloudpickle.dumps(function))

    main = ref(train)
    assert main is not None
    loaded = {module.split(".")[0] for module in sys.modules}
    return Functions(
        train=main,
        model=ref(model),
        data=ref(data),
        models={name: known for name, function in models.items() if (known := ref(function))},
        packages=tuple(sorted(loaded.intersection(SEEDED) | _named_packages(train, model, data))),
        code=Code.of(_source_files(train, model, data)),
        path=(os.getcwd(), *(entry for entry in sys.path if entry)),
    )


def _named_packages(*functions: Callable[..., Any] | None) -> set[str]:
    """Return which packages of `SEEDED` the functions' sources mention."""
    found: set[str] = set()
    for function in functions:
        try:
            source = inspect.getsource(function) if function else ""
        except (OSError, TypeError):
            continue
        found |= {name for name in SEEDED if name in source}
    return found


def _source_files(*functions: Callable[..., Any] | None) -> dict[Path, str]:
    """Return the files that the functions were written in, for the run directory."""
    files = {}
    for function in functions:
        try:
            file = inspect.getsourcefile(function) if function else None
        except TypeError:
            continue
        if file and os.path.isfile(file):
            files[Path(file).resolve()] = Path(file).name
    return files
