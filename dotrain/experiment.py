"""The Python API: `lagom` runs an experiment; `run`, `ablate` and `resume` one of a config."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dotrain.ablation.builder import AblationStudy
from dotrain.config.loaded import LoadedConfig
from dotrain.core.instructions import RunStatus
from dotrain.core.observer import Observer
from dotrain.core.policy import (
    AbstractEarlyStop,
    AbstractOptimizer,
    Direction,
)
from dotrain.core.strategy import AbstractStrategy
from dotrain.errors import DotrainError, UsageError
from dotrain.report.junit import recording
from dotrain.report.result import print_result
from dotrain.report.stdout import printing
from dotrain.results.gates import Gate, parse_gates
from dotrain.runs.best import best_of
from dotrain.runs.chosen import chosen_before
from dotrain.runs.definition import Experiment
from dotrain.runs.finding import find_run
from dotrain.runs.from_python import load_call
from dotrain.runs.loading import load, load_again
from dotrain.runs.preparing import demands_of, display, rehearsed, say
from dotrain.runs.result import Result
from dotrain.runs.session import resume as resume_experiment
from dotrain.runs.session import run as run_experiment
from dotrain.runs.stopped import take_up
from dotrain.runs.warm_start import warm_started
from dotrain.runs.which_code import Which, choose_code, refuse_other_code
from dotrain.space import Searchspace

#: What the table and the plot of a study are made with.
_STATISTICS = ("scipy", "statsmodels", "matplotlib")

#: As `open` takes them.
AnyPath = str | os.PathLike[str]

__all__ = ["Result", "ablate", "lagom", "resume", "run"]


def __dir__() -> list[str]:
    return __all__


def run(
    config: AnyPath,
    overrides: Sequence[str] = (),
    *,
    runs_dir: AnyPath = "runs",
    quiet: bool = False,
    require: Sequence[str] = (),
    junit: AnyPath | None = None,
    allow_simulated: bool = False,
    wait: bool = False,
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
        allow_simulated: Let gates judge a simulated run, whose values are made up.
        wait: Wait for workers for as long as it takes, those that another run holds among them.

    Returns:
        The result, however the run ended.

    Raises:
        UsageError: If a gate names nothing, or the JUnit file can't be written.
        ConfigError: With every mistake in the config.
        ResourcesUnavailable: If the workers can't be had.
        KeyboardInterrupt: At the second Ctrl-C.
    """
    config, junit = Path(config), _path(junit)
    with recording(junit, config.stem):
        gates = parse_gates(require)
        loaded = load(config, overrides)
        return _begin(loaded, Path(runs_dir), quiet, gates, junit, allow_simulated, wait)


def _listed(values: Sequence[Any]) -> Any:
    """Return a list of what isn't one; what is no sequence of several is refused as it is."""
    return list(values) if isinstance(values, tuple | list) else values


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def _begin(
    loaded: LoadedConfig,
    runs_dir: Path,
    quiet: bool,
    gates: Sequence[Gate] = (),
    junit: Path | None = None,
    allow_simulated: bool = False,
    wait: bool = False,
) -> Result:
    """Run what was loaded, whoever described it."""
    loaded.executor.waits = wait
    say(loaded, quiet=quiet)
    experiment = warm_started(Experiment.of(loaded), runs_dir, quiet=quiet)
    demands = demands_of(experiment, gates, junit, allow_simulated)
    experiment = rehearsed(experiment, loaded, runs_dir, quiet=quiet)
    observer = display(experiment, quiet=quiet, is_new=True)
    return run_experiment(experiment, runs_dir, observer, demands, quiet=quiet)


def ablate(
    config: AnyPath,
    overrides: Sequence[str] = (),
    *,
    from_run: AnyPath | None = None,
    runs_dir: AnyPath = "runs",
    quiet: bool = False,
    require: Sequence[str] = (),
    junit: AnyPath | None = None,
    allow_simulated: bool = False,
    wait: bool = False,
) -> Result:
    """Run the ablation study of a config file.

    Args:
        config: The YAML file; its ``ablation:`` section says what is left out.
        overrides: ``key.path=value`` pairs.
        from_run: An earlier search, whose best hyperparameters are used: as `resume` takes a run.
        runs_dir: Where run directories go.
        quiet: Show no progress.
        require: Gates, such as ``components.layer:dense_2.p_holm<0.05``, as of `run`.
        junit: Where to write a JUnit file, or None.
        allow_simulated: Let gates judge a simulated run, whose values are made up.
        wait: Wait for workers for as long as it takes, those that another run holds among them.

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
    config, junit = Path(config), _path(junit)
    with recording(junit, config.stem):
        gates = parse_gates(require)
        best = best_of(from_run, runs_dir, quiet=quiet) if from_run is not None else []
        loaded = load(config, [*best, *overrides], mode="ablate")
        return _begin(loaded, Path(runs_dir), quiet, gates, junit, allow_simulated, wait)


def resume(
    path: AnyPath,
    overrides: Sequence[str] = (),
    *,
    runs_dir: AnyPath = "runs",
    quiet: bool = False,
    require: Sequence[str] = (),
    junit: AnyPath | None = None,
    allow_simulated: bool = False,
    code: Which | None = None,
    code_dir: AnyPath | None = None,
    wait: bool = False,
) -> Result:
    """Go on with a run of a config file that stopped, for whatever reason.

    The user's code must be what ran last. It is looked for where it lay as seen from the run
    directory, then at its old place; where it is gone, the run's own archive of it is run.

    Args:
        path: The run directory; or a name or a config, for its newest run; or ``latest``.
        overrides: ``key.path=value`` pairs; ``limits``, ``cluster``, ``search.stop`` and a larger
            ``search.num_trials`` may change.
        runs_dir: Where runs are looked for by name.
        quiet: Show no progress.
        require: Gates, as of `run`; a run that has ended is judged anew.
        junit: Where to write a JUnit file, or None.
        allow_simulated: Let gates judge a simulated run, whose values are made up.
        code: ``"current"`` runs the code as it is now, whatever ran; trials that run other code are
            marked. ``"archived"`` runs what ran last, from the run's own archive, whatever is there.
        code_dir: The folder that paths in the config start from, if the code has gone elsewhere.
        wait: As of `run`.

    Returns:
        The result, as of `run`.

    Raises:
        UsageError: If there is no such run, if another driver drives it, if it can't go on
            with what the overrides change, or if the code has changed and `code` isn't given.
        DotrainError: As for `run`.
    """
    junit = _path(junit)
    with recording(junit, Path(path).absolute().name):
        gates = parse_gates(require)
        with take_up(find_run(path, runs_dir, quiet=quiet)) as stopped:
            chosen = choose_code(stopped, code, _path(code_dir))
            loaded = load_again(stopped, chosen, overrides)
            loaded.executor.waits = wait
            say(loaded, quiet=quiet)
            experiment = Experiment.of(loaded)
            refuse_other_code(stopped, experiment, chosen)
            demands = demands_of(experiment, gates, junit, allow_simulated)
            observer = display(experiment, quiet=quiet)
            return resume_experiment(
                experiment, stopped, observer, demands, archived=chosen.archived, quiet=quiet
            )


def lagom(
    train_fn: Callable[..., Any],
    searchspace: Searchspace | None = None,
    optimizer: str | Mapping[str, Any] | AbstractOptimizer | None = None,
    num_trials: int | None = None,
    name: str = "lagom",
    direction: Direction | None = None,
    *,
    metric: str | None = None,
    metrics: Mapping[str, Direction] | None = None,
    space_constraints: str | Sequence[str] | None = None,
    early_stop: str | Mapping[str, Any] | AbstractEarlyStop | None = None,
    try_first: Sequence[Mapping[str, Any]] | None = None,
    warm_start: Mapping[str, Any] | None = None,
    stop: Mapping[str, Any] | None = None,
    repeats: int | None = None,
    constraints: Mapping[str, Any] | None = None,
    hparams: Mapping[str, Any] | None = None,
    model: Callable[..., Any] | None = None,
    data: Callable[..., Any] | Mapping[str, Any] | None = None,
    prepare: Callable[[], Any] | None = None,
    ablation: AblationStudy | None = None,
    seed: int = 0,
    distribution: Mapping[str, Any] | AbstractStrategy | None = None,
    cluster: Mapping[str, Any] | None = None,
    resources: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    checkpoints: Mapping[str, Any] | None = None,
    journal: Mapping[str, Any] | None = None,
    storage: str | None = None,
    observers: Sequence[str | Mapping[str, Any] | Observer] = (),
    tensorboard: bool | None = None,
    ship: Sequence[str] = (),
    env: Sequence[str | Mapping[str, str | int]] = (),
    runs_dir: AnyPath = "runs",
    resume: AnyPath | None = None,
    quiet: bool = False,
    wait: bool = False,
) -> Result:
    """Run a train function from Python; the config picks nothing that this call can't.

    Args:
        train_fn: The train function; one defined in a script or a notebook will do.
        searchspace: What to search; None runs the function once.
        optimizer: A name, a name with options (``{"name": "asha", "resource_max": 9}``), or an
            instance; by default ``random``, or ``single`` without a search space.
        num_trials: Configurations to sample.
        name: Of the run directory.
        direction: ``max`` or ``min``; by default as the metric's name tells, or ``max``.
        metric: Key of a returned dict, and the name shown for a plain number; by default ``metric``.
        metrics: Several metrics instead, as the config's ``metrics:``: ``{"accuracy": "max", "latency_ms": "min"}``.
        space_constraints: What must hold between hyperparameters: ``"a * b <= 64"``, or several of them.
        early_stop: A name, a name with options, or an instance; by default ``none``.
        try_first: Configurations to try before any other; what one leaves out is drawn.
        warm_start: Earlier results to learn from, as the config's ``search.warm_start:``.
        stop: When the search has found enough, as the config's ``search.stop``: ``{"target": 0.95}``.
        repeats: How often each configuration is trained, with other seeds; its value is the mean.
        constraints: What other metrics must be for a trial to win, as the config's ``search.constraints``.
        hparams: Fixed hyperparameters.
        model: What ``model_gen.create()`` calls.
        data: What ``data_gen.batch()`` draws from: a function, or the config's ``data:`` section of a table.
        prepare: What is called once before the first trial, to load what all share; from a module.
        ablation: Run this study instead of a search; `model` and `data` may be set there.
        seed: Everything random is derived from it.
        distribution: The config's ``distribution:`` section, or an instance.
        cluster: The config's ``cluster:`` section; by default local, a worker per core.
        resources: The config's ``resources:`` section.
        limits: The config's ``limits:`` section.
        checkpoints: The config's ``checkpoints:`` section.
        journal: The config's ``journal:`` section.
        storage: Where the trials' files are kept, as the config's ``storage:``.
        observers: Who watches the run besides: names, names with options, or instances.
        tensorboard: Whether to write TensorBoard's event files; by default if it is installed.
        ship: Files that go with the code, as the config's ``ship:``; relative to the current folder.
        env: Variables for the processes of trials, as the config's ``env:``.
        runs_dir: Where run directories go.
        resume: An earlier run of this call, to go on with: as `resume` takes a run.
        quiet: Show no progress.
        wait: As of `run`.

    Returns:
        The result; ``result.best`` has the best trial, of several metrics ``result.front`` those that none dominates,
        ``result["components"]`` an ablation's numbers.

    Raises:
        UsageError: With every mistake in the arguments.
        DotrainError: If no trial gave a result, or the run could not go on; the message says why.
        KeyboardInterrupt: If the run was interrupted; what was recorded is in the run directory.
    """
    functions = {"train": train_fn, "model": model, "data": data, "prepare": prepare}
    optimizer = chosen_before(optimizer, resume, Path(runs_dir))
    search: dict[str, Any] = {"space": searchspace, "optimizer": optimizer, "stop": stop}
    search |= {"num_trials": num_trials, "space_constraints": space_constraints}
    search["try_first"] = None if try_first is None else _listed(try_first)
    search |= {"repeats": repeats, "constraints": constraints, "warm_start": warm_start}
    same: dict[str, Any] = {"name": name, "metric": metric, "direction": direction, "seed": seed}
    same |= {"cluster": cluster, "limits": limits, "journal": journal, "metrics": metrics}
    same |= {"tensorboard": tensorboard, "observers": observers, "checkpoints": checkpoints}
    same |= {"resources": resources, "hparams": hparams, "storage": storage}
    same |= {"ship": _listed(ship), "env": _listed(env)}
    goes_on = resume is not None
    loaded = load_call(functions, search, ablation, early_stop, distribution, same, goes_on=goes_on)
    if resume is None:
        result = _begin(loaded, Path(runs_dir), quiet, wait=wait)
    else:
        loaded.executor.waits = wait
        say(loaded, quiet=quiet)
        experiment = Experiment.of(loaded)
        watching = display(experiment, quiet=quiet), demands_of(experiment, (), None, False)
        with take_up(find_run(resume, runs_dir, quiet=quiet)) as stopped:
            result = resume_experiment(experiment, stopped, *watching, quiet=quiet)
    if not quiet:
        with printing():
            print_result(result.found)
    if result.error is not None:
        raise result.error
    if result.found.status is RunStatus.INTERRUPTED:
        raise KeyboardInterrupt(f"interrupted; go on with: {result.found.resume}")
    if not result.is_usable:
        failures = [group.error.message for group in result.found.failures]
        raise DotrainError(
            f"no trial gave a result; {[*failures, result.status][0]} (see {result.run_dir})"
        )
    return result
