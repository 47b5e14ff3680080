"""The Python API: `lagom` runs an experiment, `run` and `resume` one that a config describes."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.config.load import load_config
from dotrain.config.schema import Cluster, LimitsSection
from dotrain.config.source import Source
from dotrain.config.validation import validate_options
from dotrain.core.book import Limits
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.definition import Experiment, Functions
from dotrain.driver import Observer
from dotrain.errors import DotrainError, UsageError
from dotrain.report.console import choose_observer, print_result
from dotrain.running import Result
from dotrain.running import resume as resume_experiment
from dotrain.running import run as run_experiment
from dotrain.space import Searchspace
from dotrain.store import RunDir, read_journal
from dotrain.training.program import FunctionRef
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
    plan = experiment.optimizer.plan()
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
    space = searchspace or Searchspace()
    chosen = optimizer if optimizer is not None else ("random" if space.names else "single")
    policy: AbstractOptimizer = _make_plugin(plugins.OPTIMIZERS, chosen)
    if policy.needs_num_trials and num_trials is None:
        raise UsageError("num_trials is required: how many configurations to sample")
    policy.setup(space, num_trials, direction, seed)
    try:
        policy.check()
    except ValueError as error:
        raise UsageError(str(error)) from None
    experiment = Experiment(
        name=name,
        metric=metric,
        direction=direction,
        seed=seed,
        hparams=dict(hparams or {}),
        optimizer=policy,
        early_stop=_make_plugin(plugins.EARLY_STOP, early_stop),
        functions=_functions_of(train_fn, model, data),
        cluster=_section(Cluster, cluster, "cluster"),
        limits=Limits(**_section(LimitsSection, limits, "limits").model_dump()),
        num_trials=num_trials if space.names else 1,
        config={
            "name": name,
            "metric": metric,
            "direction": direction,
            "seed": seed,
            "hparams": dict(hparams or {}),
            "space": {key: str(domain) for key, domain in space.domains.items()},
            "optimizer": type(policy).__name__,
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


def _make_plugin(group: str, chosen: Any) -> Any:
    if not isinstance(chosen, str | Mapping):
        return chosen() if isinstance(chosen, type) else chosen
    options = {"name": chosen} if isinstance(chosen, str) else dict(chosen)
    plugin = plugins.load_plugin(group, str(options.pop("name", "")))
    instance, problems = validate_options(plugin, options, Source("lagom", options, []), ())
    if problems:
        raise UsageError("; ".join(f"{p.path[0] if p.path else ''}: {p.message}" for p in problems))
    return instance


def _section(model: type[Any], given: Mapping[str, Any] | None, name: str) -> Any:
    from pydantic import ValidationError

    try:
        return model(**(given or {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, (name, *first["loc"])))
        raise UsageError(f"{key}: {first['msg']}") from None


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
