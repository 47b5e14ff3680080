"""The Python API: `lagom` runs an experiment, `run` and `resume` one that a config describes."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.config.errors import dotted
from dotrain.config.load import load_config
from dotrain.config.schema import Settings
from dotrain.config.secrets import without_secrets
from dotrain.config.source import Source
from dotrain.config.validation import validate_options, validate_settings
from dotrain.core.book import Limits
from dotrain.core.policy import (
    AbstractEarlyStop,
    AbstractOptimizer,
    Direction,
    policy_error,
)
from dotrain.core.strategy import AbstractStrategy
from dotrain.definition import Experiment, Functions
from dotrain.driver import Observer
from dotrain.errors import DotrainError, UsageError
from dotrain.report.console import choose_observer, print_result
from dotrain.running import Result
from dotrain.running import resume as resume_experiment
from dotrain.running import run as run_experiment
from dotrain.space import Searchspace
from dotrain.store import RunDir, read_journal
from dotrain.store.journal import to_json
from dotrain.training.program import Code, FunctionRef
from dotrain.training.seeding import SEEDED

__all__ = ["Result", "lagom", "resume", "run"]


def run(
    config: Path,
    overrides: Sequence[str] = (),
    *,
    runs_dir: Path = Path("runs"),
    quiet: bool = False,
) -> Result:
    """Run a config file.

    Args:
        config: The YAML file.
        overrides: ``key.path=value`` pairs.
        runs_dir: Where run directories go.
        quiet: Show no progress.

    Returns:
        The result, however the run ended.

    Raises:
        ConfigError: With every mistake in the config.
        ResourcesUnavailable: If the workers can't be had.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    experiment = Experiment.of_config(load_config(config, overrides))
    return run_experiment(experiment, runs_dir, display(experiment, quiet=quiet))


def resume(path: Path, overrides: Sequence[str] = (), *, quiet: bool = False) -> Result:
    """Go on with a run of a config file that stopped, for whatever reason.

    The user's code is taken from where the config stood, as it is now.

    Args:
        path: The run directory.
        overrides: ``key.path=value`` pairs; ``limits``, ``cluster`` and a larger
            ``search.num_trials`` may change.
        quiet: Show no progress.

    Returns:
        The result, as of `run`.

    Raises:
        UsageError: If `path` is no run directory, if another driver drives it, or if it can't go
            on with what the overrides change.
        DotrainError: As for `run`.
    """
    run_dir = RunDir.open(path)
    header = next(iter(read_journal(run_dir.journal)), None)
    if header is None or "train" not in header.get("config", {}):
        raise UsageError(
            f"{path} was not started from a config; go on from Python with the same call of "
            "lagom and resume=..."
            if header
            else f"{path}: the run never began; there is nothing to go on with"
        )
    folder = Path(header["config_dir"])
    loaded = load_config(run_dir.config, overrides, folder=folder)
    experiment = Experiment.of_config(loaded)
    return resume_experiment(experiment, run_dir, display(experiment, quiet=quiet))


def display(experiment: Experiment, *, quiet: bool = False) -> Observer:
    """Return what shows the progress of an experiment on stderr, if anything."""
    try:
        plan = experiment.optimizer.plan()
    except Exception as error:
        raise policy_error(experiment.optimizer, error) from error
    size = "" if plan is None else f", {plan.configurations} configurations"
    optimizer = type(experiment.optimizer).__name__
    title = f"{experiment.name}: {optimizer}, {experiment.direction} {experiment.metric}{size}"
    # A live table and a debugger in the same terminal don't go together.
    live = experiment.cluster.kind != "inline"
    return choose_observer(title, experiment.direction, plan, live=live, quiet=quiet)


def lagom(
    train_fn: Callable[..., Any],
    searchspace: Searchspace | None = None,
    optimizer: str | Mapping[str, Any] | AbstractOptimizer | None = None,
    num_trials: int | None = None,
    name: str = "lagom",
    direction: Direction = "max",
    *,
    metric: str = "metric",
    early_stop: str | Mapping[str, Any] | AbstractEarlyStop = "none",
    hparams: Mapping[str, Any] | None = None,
    model: Callable[..., Any] | None = None,
    data: Callable[..., Any] | None = None,
    seed: int = 0,
    distribution: Mapping[str, Any] | AbstractStrategy | None = None,
    cluster: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    runs_dir: str | Path = "runs",
    resume: str | Path | None = None,
    quiet: bool = False,
) -> Result:
    """Run a train function from Python; the config picks nothing that this call can't.

    Args:
        train_fn: The train function; one defined in a script or a notebook will do.
        searchspace: What to search; None runs the function once.
        optimizer: A name, a name with options (``{"name": "asha", "resource_max": 9}``), or an
            instance; by default ``random``, or ``single`` without a search space.
        num_trials: Configurations to sample.
        name: Of the run directory.
        direction: ``max`` or ``min``.
        metric: Key of a returned dict, and the name shown for a plain number.
        early_stop: A name, a name with options, or an instance.
        hparams: Fixed hyperparameters.
        model: What ``model_gen.create()`` calls.
        data: What ``data_gen.batch()`` draws from.
        seed: Everything random is derived from it.
        distribution: The config's ``distribution:`` section, or an instance.
        cluster: The config's ``cluster:`` section; by default local, a worker per core.
        limits: The config's ``limits:`` section.
        runs_dir: Where run directories go.
        resume: The directory of an earlier run of this call, to go on with.
        quiet: Show no progress.

    Returns:
        The result; ``result.best`` has the best trial.

    Raises:
        UsageError: If an argument can't be.
        DotrainError: If no trial gave a result, or the run could not go on; the message says why.
        KeyboardInterrupt: If the run was interrupted; what was recorded is in the run directory.
    """
    settings = _checked(
        name=name,
        metric=metric,
        direction=direction,
        seed=seed,
        hparams=dict(hparams or {}),
        cluster=dict(cluster or {}),
        limits=dict(limits or {}),
    )
    if searchspace is not None and not isinstance(searchspace, Searchspace):
        raise UsageError(f"searchspace: expected a Searchspace, got {type(searchspace).__name__}")
    space = searchspace or Searchspace()
    chosen = optimizer if optimizer is not None else ("random" if space.names else "single")
    policy: AbstractOptimizer = _make_plugin(plugins.OPTIMIZERS, chosen)
    if num_trials is None and policy.needs_num_trials:
        raise UsageError("num_trials is required: how many configurations to sample")
    if num_trials is not None and (type(num_trials) is not int or num_trials < 1):
        raise UsageError(f"num_trials: expected a whole number >= 1, got {num_trials!r}")
    policy.setup(space, num_trials, settings.direction, seed)
    try:
        policy.check()
    except ValueError as error:
        raise UsageError(str(error)) from None
    rule: AbstractEarlyStop = _make_plugin(plugins.EARLY_STOP, early_stop)
    spread = {"strategy": "single"} if distribution is None else distribution
    strategy: AbstractStrategy = _make_plugin(plugins.STRATEGIES, spread, "strategy")
    experiment = Experiment(
        name=settings.name,
        metric=metric,
        direction=settings.direction,
        seed=seed,
        hparams=dict(hparams or {}),
        optimizer=policy,
        early_stop=rule,
        strategy=strategy,
        functions=_functions_of(train_fn, model, data),
        cluster=settings.cluster,
        limits=Limits(**settings.limits.model_dump()),
        num_trials=num_trials if space.names else 1,
        config={
            "name": name,
            "metric": metric,
            "direction": direction,
            "seed": seed,
            "hparams": json.loads(to_json(dict(hparams or {}))),
            "search": {
                "space": {key: str(domain) for key, domain in space.domains.items()},
                "optimizer": _plugin_data(chosen, policy),
                "num_trials": num_trials,
                "early_stop": _plugin_data(early_stop, rule),
            },
            "distribution": _plugin_data(spread, strategy, "strategy"),
            "cluster": without_secrets(json.loads(to_json(dict(cluster or {})))),
            "limits": settings.limits.model_dump(),
        },
        config_dir=Path.cwd(),
    )
    observer = display(experiment, quiet=quiet)
    if resume is not None:
        result = resume_experiment(experiment, RunDir.open(Path(resume)), observer)
    else:
        result = run_experiment(experiment, Path(runs_dir), observer)
    if not quiet:
        print_result(result.summary, result.trials)
    if result.error is not None:
        raise result.error
    if result.status == "interrupted":
        raise KeyboardInterrupt
    if result.best is None:
        failures = result.summary.get("failures", [])
        raise DotrainError(
            f"no trial gave a result; {failures[0]['message'] if failures else result.status} "
            f"(see {result.run_dir})"
        )
    return result


def _make_plugin(group: str, chosen: Any, key: str = "name") -> Any:
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


def _plugin_data(chosen: Any, plugin: object, key: str = "name") -> dict[str, Any]:
    """Return what a config would say of a plugin."""
    options = dict(chosen) if isinstance(chosen, Mapping) else {}
    cls = type(plugin)
    return {**json.loads(to_json(options)), key: f"{cls.__module__}:{cls.__qualname__}"}


def _checked(**sections: Any) -> Settings:
    """Return the config's settings of arguments that have the same names there."""
    source = Source.of_data("lagom", {"train": "lagom:train", **sections})
    settings, problems = validate_settings(source)
    if problems:
        lines = [f"{dotted(problem.path)}: {problem.message}" for problem in problems]
        raise UsageError("\n".join(lines))
    return settings


def _functions_of(
    train: Callable[..., Any],
    model: Callable[..., Any] | None,
    data: Callable[..., Any] | None,
) -> Functions:
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
