"""Experiments: everything wired together and run, from a config or from Python."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.config.load import LoadedConfig
from dotrain.config.schema import Cluster, LimitsSection
from dotrain.config.source import Source
from dotrain.config.target import Target
from dotrain.config.validation import validate_options
from dotrain.core.book import Limits
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial
from dotrain.driver import Driver, Observer
from dotrain.errors import DotrainError, UsageError
from dotrain.executors.factory import make_executor
from dotrain.report.console import choose_observer, print_result
from dotrain.report.summary import summarize
from dotrain.space import Searchspace
from dotrain.store import Journal, RunDir
from dotrain.training.program import Code, FunctionRef, Program
from dotrain.training.seeding import SEEDED


@dataclass(frozen=True)
class Functions:
    """The user's functions and their files, as they go to workers."""

    train: FunctionRef
    model: FunctionRef | None = None
    data: FunctionRef | None = None
    packages: tuple[str, ...] = ()
    code: Code = field(default_factory=Code)
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Experiment:
    """What is to be run, whoever asked for it.

    Attributes:
        name: Of the run directory.
        metric: Name of the metric.
        direction: ``max`` or ``min``.
        seed: Everything random is derived from it.
        hparams: Fixed hyperparameters.
        optimizer: Set up by `AbstractOptimizer.setup`.
        early_stop: The rule.
        functions: The user's functions.
        cluster: Where trials run.
        limits: What ends attempts and the run early.
        config: The config as plain data, for the run directory and the journal.
    """

    name: str
    metric: str
    direction: Direction
    seed: int
    hparams: Mapping[str, Any]
    optimizer: AbstractOptimizer
    early_stop: AbstractEarlyStop
    functions: Functions
    cluster: Cluster
    limits: Limits
    config: Mapping[str, Any]

    @classmethod
    def of_config(cls, loaded: LoadedConfig) -> Experiment:
        """Return the experiment of a loaded config."""
        settings = loaded.settings
        functions = Functions(
            train=_ref_of(loaded.train),
            model=_ref_of(loaded.model) if loaded.model else None,
            data=_ref_of(loaded.dataset) if loaded.dataset else None,
            packages=tuple(sorted(loaded.closure.packages)),
            code=Code.of(loaded.closure.files),
        )
        return cls(
            name=settings.name,
            metric=settings.metric,
            direction=settings.direction,
            seed=settings.seed,
            hparams=settings.hparams,
            optimizer=loaded.optimizer,
            early_stop=loaded.early_stop,
            functions=functions,
            cluster=settings.cluster,
            limits=Limits(**settings.limits.model_dump()),
            config=loaded.data,
        )


@dataclass(frozen=True)
class Result:
    """How an experiment went.

    Attributes:
        summary: What ``--json`` prints.
        trials: Every trial, with its parameters, values and story.
        error: What ended the run against the user's will, or None.
    """

    summary: dict[str, Any]
    trials: Sequence[Trial]
    error: DotrainError | None = None

    @property
    def status(self) -> str:
        """``finished``, ``time_limit``, ``failed`` or ``interrupted``."""
        return str(self.summary["status"])

    @property
    def best(self) -> dict[str, Any] | None:
        """``trial_id``, ``value`` and ``params`` of the best trial, or None."""
        best: dict[str, Any] | None = self.summary["best"]
        return best

    @property
    def run_dir(self) -> Path:
        """The run directory."""
        return Path(self.summary["run_dir"])

    def __getitem__(self, key: str) -> Any:
        """Return a part of the summary, as ``result["best"]``."""
        return self.summary[key]


def run(experiment: Experiment, runs_dir: Path, observer: Observer) -> Result:
    """Run an experiment to its end and write its run directory.

    Args:
        experiment: What to run.
        runs_dir: Where run directories go.
        observer: Shows progress.

    Returns:
        The result, however the run ended; what is recorded is in the run directory.

    Raises:
        UsageError: If the run directory can't be made.
        ResourcesUnavailable: If the workers can't be had; nothing has run then.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    run_dir = RunDir.create(runs_dir, experiment.name)
    run_dir.write_config(experiment.config)
    if experiment.functions.code.archive:
        run_dir.write_code(experiment.functions.code.archive)
    experiment.optimizer.initialize()
    scheduler = Scheduler(
        experiment.optimizer,
        experiment.early_stop,
        direction=experiment.direction,
        seed=experiment.seed,
        limits=experiment.limits,
    )
    header = _header(experiment)
    journal = Journal(run_dir.journal)
    executor = make_executor(experiment.cluster, run_dir.logs)
    driver = Driver(scheduler, executor, journal, observer)
    error: DotrainError | None = None
    try:
        journal.append_header(header)
        status = driver.run(_program(experiment, run_dir))
        experiment.optimizer.finalize_experiment(list(scheduler.book.trials.values()))
    except DotrainError as failure:
        if not scheduler.book.trials:
            raise
        status, error = "failed", failure
    finally:
        journal.close()
    summary = summarize(header, scheduler.book, status, driver.elapsed_s, run_dir.path)
    if error is not None:
        summary["error"] = str(error)
    run_dir.write_result(summary)
    return Result(summary, list(scheduler.book.trials.values()), error)


def display(experiment: Experiment, *, quiet: bool = False) -> Observer:
    """Return what shows the progress of an experiment on stderr, if anything."""
    plan = experiment.optimizer.plan()
    size = "" if plan is None else f", {plan.configurations} configurations"
    optimizer = type(experiment.optimizer).__name__
    title = f"{experiment.name}: {optimizer}, {experiment.direction} {experiment.metric}{size}"
    # A live table and a debugger in the same terminal don't go together.
    live = experiment.cluster.kind != "inline"
    return choose_observer(title, experiment.direction, plan, live=live, quiet=quiet)


def exit_code(result: Result) -> int:
    """Return the exit code of a run: 0 done, 1 no usable result, 130 interrupted."""
    if result.status == "interrupted":
        return 130
    return 0 if result.best is not None and result.status != "failed" else 1


def _header(experiment: Experiment) -> dict[str, Any]:
    return {
        "name": experiment.name,
        "metric": experiment.metric,
        "direction": experiment.direction,
        "seed": experiment.seed,
        "limits": vars(experiment.limits),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "dotrain": version("dotrain"),
        "config": experiment.config,
    }


def _program(experiment: Experiment, run_dir: RunDir) -> Program:
    functions = experiment.functions
    return Program(
        token=run_dir.token,
        train=functions.train,
        model=functions.model,
        data=functions.data,
        metric=experiment.metric,
        hparams=dict(experiment.hparams),
        run_dir=str(run_dir.path),
        packages=functions.packages,
        code=functions.code,
        path=functions.path,
    )


def _ref_of(target: Target) -> FunctionRef:
    if target.file is None or not target.file.is_relative_to(target.root):
        return FunctionRef(target.function, target.module)
    if "site-packages" in target.file.parts:
        return FunctionRef(target.function, target.module)
    file = str(target.file.relative_to(target.root))
    return FunctionRef(target.function, target.module, str(target.root), file)


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
        config={"name": name, "metric": metric, "direction": direction, "seed": seed},
    )
    result = run(experiment, Path(runs_dir), display(experiment, quiet=quiet))
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
