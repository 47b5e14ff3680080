"""The Python API: `lagom` runs an experiment; `run`, `ablate` and `resume` one of a config."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.ablation.builder import AblationStudy
from dotrain.ablation.runner import StudyRunner
from dotrain.config.ablate import StudyBuilder
from dotrain.config.errors import ConfigError, dotted
from dotrain.config.load import LoadedConfig, Mode, load_config
from dotrain.config.schema import Settings
from dotrain.config.secrets import without_secrets
from dotrain.config.source import Source
from dotrain.config.target import Signature
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
from dotrain.report.ablation import print_study
from dotrain.report.display import Subject, choose_observer
from dotrain.report.gates import Gate, check_gates, expected_result, parse_gates
from dotrain.report.junit import recording
from dotrain.report.result import print_result
from dotrain.report.summary import best_trial
from dotrain.running import Demands, Result, make_header
from dotrain.running import resume as resume_experiment
from dotrain.running import run as run_experiment
from dotrain.space import Searchspace
from dotrain.store import RunDir, read_journal, replay
from dotrain.store.journal import to_json
from dotrain.training.program import Code, FunctionRef
from dotrain.training.rehearsal import Rehearsal, rehearse
from dotrain.training.seeding import SEEDED

#: What the table and the plot of a study are made with.
_STATISTICS = ("scipy", "statsmodels", "matplotlib")

__all__ = ["Result", "ablate", "lagom", "resume", "run"]


def run(
    config: Path,
    overrides: Sequence[str] = (),
    *,
    runs_dir: Path = Path("runs"),
    quiet: bool = False,
    require: Sequence[str] = (),
    junit: Path | None = None,
) -> Result:
    """Run a config file.

    Args:
        config: The YAML file.
        overrides: ``key.path=value`` pairs.
        runs_dir: Where run directories go.
        quiet: Show no progress.
        require: Gates, such as ``val_accuracy>=0.9`` or ``trials.failed==0``; ``result.gates``
            tells how they came out.
        junit: Where to write a JUnit file, or None.

    Returns:
        The result, however the run ended.

    Raises:
        UsageError: If a gate names nothing, or the JUnit file can't be written.
        ConfigError: With every mistake in the config.
        ResourcesUnavailable: If the workers can't be had.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    with recording(junit, config.stem):
        gates = parse_gates(require)
        experiment = Experiment.of_config(load_config(config, overrides))
        demands = _demands(experiment, gates, junit)
        return run_experiment(experiment, runs_dir, display(experiment, quiet=quiet), demands)


def _demands(experiment: Experiment, gates: Sequence[Gate], junit: Path | None) -> Demands:
    """Return what is demanded, unless the experiment can't give it."""
    if gates:
        space = experiment.optimizer.searchspace
        check_gates(gates, expected_result(make_header(experiment, ""), space))
    return Demands(gates, junit)


def ablate(
    config: Path,
    overrides: Sequence[str] = (),
    *,
    from_run: Path | None = None,
    runs_dir: Path = Path("runs"),
    quiet: bool = False,
    require: Sequence[str] = (),
    junit: Path | None = None,
) -> Result:
    """Run the ablation study of a config file.

    Args:
        config: The YAML file; its ``ablation:`` section says what is left out.
        overrides: ``key.path=value`` pairs.
        from_run: The directory of an earlier search, whose best hyperparameters are used.
        runs_dir: Where run directories go.
        quiet: Show no progress.
        require: Gates, such as ``components.layer:dense_2.p_holm<0.05``, as of `run`.
        junit: Where to write a JUnit file, or None.

    Returns:
        The result; ``result["components"]`` has the numbers.

    Raises:
        ConfigError: With every mistake in the config, and every component that would change
            nothing or can't be left out; nothing has been trained then.
        UsageError: If the earlier search has no best trial.
        ResourcesUnavailable: If the workers can't be had.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    missing = [name for name in _STATISTICS if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"an ablation study needs {', '.join(missing)}: pip install 'dotrain[ablation]'"
        )
    with recording(junit, config.stem):
        gates = parse_gates(require)
        best = _best_of(from_run) if from_run is not None else []
        loaded = load_config(config, [*best, *overrides], mode="ablate")
        if not quiet:
            sys.stderr.writelines(f"warning: {warning}\n" for warning in loaded.warnings)
        experiment = Experiment.of_config(loaded)
        demands = _demands(experiment, gates, junit)
        if experiment.cluster.kind != "simulated":
            found = rehearse(experiment.program("rehearsal", Path("/nowhere")))
            _refuse_what_changes_nothing(loaded, found)
            if not quiet:
                sys.stderr.writelines(f"note: {note}\n" for note in found.notes)
            experiment = replace(experiment, rehearsal=found)
        return run_experiment(experiment, runs_dir, display(experiment, quiet=quiet), demands)


def _best_of(path: Path) -> list[str]:
    """Return the best hyperparameters of a run as overrides.

    Raises:
        UsageError: If there are none.
    """
    run_dir = RunDir.open(path)
    state = replay(read_journal(run_dir.journal))
    best = best_trial(state.book.trials.values(), state.header["direction"])
    if best is None:
        raise UsageError(f"--from {path}: no trial there has a result")
    return [f"hparams.{name}={json.dumps(value)}" for name, value in best.params.items()]


def _refuse_what_changes_nothing(loaded: LoadedConfig, found: Rehearsal) -> None:
    if not found.problems:
        return
    assert loaded.study is not None
    components = loaded.study.components
    raise ConfigError(
        [loaded.source.problem(components[name].path, message) for name, message in found.problems]
    )


def resume(
    path: Path,
    overrides: Sequence[str] = (),
    *,
    quiet: bool = False,
    require: Sequence[str] = (),
    junit: Path | None = None,
) -> Result:
    """Go on with a run of a config file that stopped, for whatever reason.

    The user's code is taken from where the config stood, as it is now.

    Args:
        path: The run directory.
        overrides: ``key.path=value`` pairs; ``limits``, ``cluster`` and a larger
            ``search.num_trials`` may change.
        quiet: Show no progress.
        require: Gates, as of `run`; a run that has ended is judged anew.
        junit: Where to write a JUnit file, or None.

    Returns:
        The result, as of `run`.

    Raises:
        UsageError: If `path` is no run directory, if another driver drives it, or if it can't go
            on with what the overrides change.
        DotrainError: As for `run`.
    """
    with recording(junit, path.absolute().name):
        gates = parse_gates(require)
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
        mode: Mode = "ablate" if "study" in header else "run"
        loaded = load_config(run_dir.config, overrides, folder=folder, mode=mode)
        experiment = Experiment.of_config(loaded)
        demands = _demands(experiment, gates, junit)
        observer = display(experiment, quiet=quiet)
        return resume_experiment(experiment, run_dir, observer, demands, quiet=quiet)


def display(experiment: Experiment, *, quiet: bool = False) -> Observer:
    """Return what shows the progress of an experiment on stderr, if anything."""
    try:
        plan = experiment.optimizer.plan()
    except Exception as error:
        raise policy_error(experiment.optimizer, error) from error
    size = "" if plan is None else f", {_count(plan.configurations, 'configuration')}"
    what = type(experiment.optimizer).__name__
    shape: dict[str, Any] = {}
    if isinstance(experiment.optimizer, StudyRunner):
        study = experiment.optimizer.study
        shape = {"arms": tuple(arm.name for arm in study.arms), "seeds": study.seeds}
        what = f"ablation of {_count(len(study.components), 'component')}"
        arms, seeds = _count(len(study.arms) - 1, "arm"), _count(study.seeds, "seed")
        size = f", {arms} and the baseline, {seeds} each"
    title = f"{experiment.name}: {what}, {experiment.direction} {experiment.metric}{size}"
    subject = Subject(
        title,
        experiment.metric,
        experiment.direction,
        plan,
        is_virtual=experiment.cluster.kind == "simulated",
        **shape,
    )
    # A live table and a debugger in the same terminal don't go together.
    return choose_observer(subject, live=experiment.cluster.kind != "inline", quiet=quiet)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


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
    ablation: AblationStudy | None = None,
    seed: int = 0,
    distribution: Mapping[str, Any] | AbstractStrategy | None = None,
    cluster: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    tensorboard: bool | None = None,
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
        ablation: Run this study instead of a search; `model` and `data` may be set there.
        seed: Everything random is derived from it.
        distribution: The config's ``distribution:`` section, or an instance.
        cluster: The config's ``cluster:`` section; by default local, a worker per core.
        limits: The config's ``limits:`` section.
        tensorboard: Whether to write TensorBoard's event files; by default if it is installed.
        runs_dir: Where run directories go.
        resume: The directory of an earlier run of this call, to go on with.
        quiet: Show no progress.

    Returns:
        The result; ``result.best`` has the best trial, ``result["components"]`` an ablation's
        numbers.

    Raises:
        UsageError: If an argument can't be.
        DotrainError: If no trial gave a result, or the run could not go on; the message says why.
        KeyboardInterrupt: If the run was interrupted; what was recorded is in the run directory.
    """
    study_data: dict[str, Any] = {}
    if ablation is not None:
        _check_study_is_alone(searchspace, optimizer, num_trials)
        base = ablation.base_generators
        model, data = model or base[0], data or base[1]
        study_data = {
            "ablation": ablation.section(),
            **({"model": "lagom:model"} if model else {}),
            **({"data": "lagom:data"} if data else {}),
        }
    settings = _checked(
        **study_data,
        name=name,
        metric=metric,
        direction=direction,
        seed=seed,
        hparams=dict(hparams or {}),
        cluster=dict(cluster or {}),
        limits=dict(limits or {}),
        **({} if tensorboard is None else {"tensorboard": tensorboard}),
    )
    if searchspace is not None and not isinstance(searchspace, Searchspace):
        raise UsageError(f"searchspace: expected a Searchspace, got {type(searchspace).__name__}")
    space = searchspace or Searchspace()
    chosen = optimizer if optimizer is not None else ("random" if space.names else "single")
    policy: AbstractOptimizer
    if ablation is not None:
        policy = _runner_of(ablation, settings, {"train": train_fn, "model": model, "data": data})
        num_trials = policy.plan().configurations
    else:
        policy = _make_plugin(plugins.OPTIMIZERS, chosen)
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
        functions=_functions_of(train_fn, model, data, ablation.variants if ablation else {}),
        cluster=settings.cluster,
        limits=Limits(**settings.limits.model_dump()),
        num_trials=num_trials if space.names or ablation else 1,
        config={
            "name": name,
            "metric": metric,
            "direction": direction,
            "seed": seed,
            "hparams": json.loads(to_json(dict(hparams or {}))),
            "search": {
                "space": json.loads(to_json(space.to_data())),
                "optimizer": _plugin_data(chosen, policy),
                "num_trials": num_trials,
                "early_stop": _plugin_data(early_stop, rule),
            },
            "ablation": ablation.section() if ablation else None,
            "distribution": _plugin_data(spread, strategy, "strategy"),
            "cluster": without_secrets(json.loads(to_json(dict(cluster or {})))),
            "limits": settings.limits.model_dump(),
        },
        config_dir=Path.cwd(),
        study=policy.study if isinstance(policy, StudyRunner) else None,
        tensorboard=settings.writes_tensorboard,
    )
    if ablation is not None and experiment.cluster.kind != "simulated" and resume is None:
        experiment = _rehearsed(experiment)
    observer = display(experiment, quiet=quiet)
    if resume is not None:
        result = resume_experiment(experiment, RunDir.open(Path(resume)), observer)
    else:
        result = run_experiment(experiment, Path(runs_dir), observer)
    if not quiet and "components" in result.summary:
        print_study(result.summary)
    elif not quiet:
        print_result(result.summary, result.trials)
    if result.error is not None:
        raise result.error
    if result.status == "interrupted":
        raise KeyboardInterrupt
    if not result.is_usable:
        failures = result.summary.get("failures", [])
        raise DotrainError(
            f"no trial gave a result; {failures[0]['message'] if failures else result.status} "
            f"(see {result.run_dir})"
        )
    return result


def _check_study_is_alone(*others: object) -> None:
    if any(other is not None for other in others):
        raise UsageError(
            "ablation: a study runs every arm with every seed; take searchspace, optimizer and "
            "num_trials out, and give the best hyperparameters as hparams"
        )


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


def _runner_of(
    ablation: AblationStudy, settings: Settings, functions: Mapping[str, Callable[..., Any] | None]
) -> StudyRunner:
    described = {key: _Described(f) if f else None for key, f in functions.items()}
    models = {name: _Described(function) for name, function in ablation.variants.items()}
    section = ablation.section()
    builder = StudyBuilder(settings, Source.of_data("lagom", {"ablation": section}))
    ablator = _make_plugin(plugins.ABLATORS, section["ablator"])
    study = builder.build(ablator, described, models)
    for warning in builder.warnings:
        sys.stderr.write(f"warning: {dotted(warning.path)}: {warning.message}\n")
    if study is None:
        lines = [f"{dotted(problem.path)}: {problem.message}" for problem in builder.problems]
        raise UsageError("\n".join(lines))
    return StudyRunner(study, settings.seed)


def _rehearsed(experiment: Experiment) -> Experiment:
    found = rehearse(experiment.program("rehearsal", Path("/nowhere")))
    if found.problems:
        raise UsageError("\n".join(f"{name}: {message}" for name, message in found.problems))
    return replace(experiment, rehearsal=found)


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
    models: Mapping[str, Callable[..., Any]],
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
