"""The Python API: `lagom` runs an experiment; `run`, `ablate` and `resume` one of a config."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dotrain.ablation.builder import AblationStudy
from dotrain.config.loaded import LoadedConfig
from dotrain.config.writing import to_yaml
from dotrain.core.instructions import RunStatus
from dotrain.core.observer import Observer
from dotrain.core.policy import (
    AbstractEarlyStop,
    AbstractOptimizer,
    Direction,
)
from dotrain.core.strategy import AbstractStrategy
from dotrain.core.trial import Mark
from dotrain.errors import DotrainError, UsageError
from dotrain.report.forest import draw_at_end
from dotrain.report.junit import recording, write_junit
from dotrain.report.result import print_result
from dotrain.report.stdout import printing
from dotrain.results import best_trial, expected_result
from dotrain.results.gates import Gate, check_gates, parse_gates
from dotrain.runs.definition import Experiment
from dotrain.runs.finding import find_run
from dotrain.runs.from_python import load_call
from dotrain.runs.header import make_header
from dotrain.runs.loading import load, load_again
from dotrain.runs.preparing import display, rehearsed, say
from dotrain.runs.result import Demands, Result
from dotrain.runs.session import resume as resume_experiment
from dotrain.runs.session import run as run_experiment
from dotrain.runs.stopped import take_up
from dotrain.space import Searchspace
from dotrain.store import RunDir, read_journal, replay

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
        return _begin(loaded, Path(runs_dir), quiet, gates, junit, allow_simulated)


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def _begin(
    loaded: LoadedConfig,
    runs_dir: Path,
    quiet: bool,
    gates: Sequence[Gate] = (),
    junit: Path | None = None,
    allow_simulated: bool = False,
) -> Result:
    """Run what was loaded, whoever described it."""
    say(loaded, quiet=quiet)
    experiment = Experiment.of(loaded)
    demands = _demands(experiment, gates, junit, allow_simulated)
    experiment = rehearsed(experiment, loaded, quiet=quiet)
    observer = display(experiment, quiet=quiet, is_new=True)
    return run_experiment(experiment, runs_dir, observer, demands, quiet=quiet)


def _demands(
    experiment: Experiment, gates: Sequence[Gate], junit: Path | None, allow_simulated: bool
) -> Demands:
    """Return what is demanded, unless the experiment can't give it."""
    if gates and experiment.simulated and not allow_simulated:
        raise UsageError(
            f"--require '{gates[0].text}': the run is simulated, so its values are made up and "
            "prove nothing; leave the gate out, or say --allow-simulated"
        )
    if gates:
        space = experiment.optimizer.searchspace
        check_gates(gates, expected_result(make_header(experiment, ""), space).paths)
    recorded = [] if junit is None else [partial(write_junit, junit)]
    return Demands(gates, [*recorded, draw_at_end])


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
        best = _best_of(from_run, runs_dir, quiet=quiet) if from_run is not None else []
        loaded = load(config, [*best, *overrides], mode="ablate")
        return _begin(loaded, Path(runs_dir), quiet, gates, junit, allow_simulated)


def _best_of(called: AnyPath, runs_dir: AnyPath, *, quiet: bool) -> list[str]:
    """Return the best hyperparameters of a run as overrides.

    Raises:
        UsageError: If there are none.
    """
    path = find_run(called, runs_dir, searches_first=True, quiet=quiet)
    state = replay(read_journal(RunDir(path).journal))
    best = best_trial(state.book.trials.values(), state.header["direction"])
    if best is None:
        raise UsageError(f"--from {path}: no trial there has a result")
    if best.arm is not None:
        raise UsageError(f"--from {path}: of an ablation no trial is the best")
    for mark in {Mark.SIMULATED, Mark.OTHER_CODE, Mark.RECOUNTED, Mark.OVER_BUDGET} & {*best.marks}:
        sys.stderr.write(f"warning: --from {path}: {best.trial_id}, its best trial, is marked ")
        sys.stderr.write(f"'{mark}': {best.notes[mark]}\n")
    return [
        f"hparams.{name}={to_yaml(value, one_line=True)}" for name, value in best.params.items()
    ]


def resume(
    path: AnyPath,
    overrides: Sequence[str] = (),
    *,
    runs_dir: AnyPath = "runs",
    quiet: bool = False,
    require: Sequence[str] = (),
    junit: AnyPath | None = None,
    allow_simulated: bool = False,
) -> Result:
    """Go on with a run of a config file that stopped, for whatever reason.

    The user's code is taken from where the config stood, as it is now.

    Args:
        path: The run directory; or a name or a config, for its newest run; or ``latest``.
        overrides: ``key.path=value`` pairs; ``limits``, ``cluster`` and a larger
            ``search.num_trials`` may change.
        runs_dir: Where runs are looked for by name.
        quiet: Show no progress.
        require: Gates, as of `run`; a run that has ended is judged anew.
        junit: Where to write a JUnit file, or None.
        allow_simulated: Let gates judge a simulated run, whose values are made up.

    Returns:
        The result, as of `run`.

    Raises:
        UsageError: If there is no such run, if another driver drives it, or if it can't go on
            with what the overrides change.
        DotrainError: As for `run`.
    """
    junit = _path(junit)
    with recording(junit, Path(path).absolute().name):
        gates = parse_gates(require)
        with take_up(find_run(path, runs_dir, quiet=quiet)) as stopped:
            loaded = load_again(stopped, overrides)
            say(loaded, quiet=quiet)
            experiment = Experiment.of(loaded)
            demands = _demands(experiment, gates, junit, allow_simulated)
            observer = display(experiment, quiet=quiet)
            return resume_experiment(experiment, stopped, observer, demands, quiet=quiet)


def lagom(
    train_fn: Callable[..., Any],
    searchspace: Searchspace | None = None,
    optimizer: str | Mapping[str, Any] | AbstractOptimizer | None = None,
    num_trials: int | None = None,
    name: str = "lagom",
    direction: Direction | None = None,
    *,
    metric: str = "metric",
    early_stop: str | Mapping[str, Any] | AbstractEarlyStop | None = None,
    hparams: Mapping[str, Any] | None = None,
    model: Callable[..., Any] | None = None,
    data: Callable[..., Any] | None = None,
    prepare: Callable[[], Any] | None = None,
    ablation: AblationStudy | None = None,
    seed: int = 0,
    distribution: Mapping[str, Any] | AbstractStrategy | None = None,
    cluster: Mapping[str, Any] | None = None,
    limits: Mapping[str, Any] | None = None,
    journal: Mapping[str, Any] | None = None,
    observers: Sequence[str | Mapping[str, Any] | Observer] = (),
    tensorboard: bool | None = None,
    runs_dir: AnyPath = "runs",
    resume: AnyPath | None = None,
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
        direction: ``max`` or ``min``; by default as the metric's name tells, or ``max``.
        metric: Key of a returned dict, and the name shown for a plain number.
        early_stop: A name, a name with options, or an instance; by default ``none``.
        hparams: Fixed hyperparameters.
        model: What ``model_gen.create()`` calls.
        data: What ``data_gen.batch()`` draws from.
        prepare: What is called once before the first trial, to load what all share; from a module.
        ablation: Run this study instead of a search; `model` and `data` may be set there.
        seed: Everything random is derived from it.
        distribution: The config's ``distribution:`` section, or an instance.
        cluster: The config's ``cluster:`` section; by default local, a worker per core.
        limits: The config's ``limits:`` section.
        journal: The config's ``journal:`` section.
        observers: Who watches the run besides: names, names with options, or instances.
        tensorboard: Whether to write TensorBoard's event files; by default if it is installed.
        runs_dir: Where run directories go.
        resume: An earlier run of this call, to go on with: as `resume` takes a run.
        quiet: Show no progress.

    Returns:
        The result; ``result.best`` has the best trial, ``result["components"]`` an ablation's
        numbers.

    Raises:
        UsageError: With every mistake in the arguments.
        DotrainError: If no trial gave a result, or the run could not go on; the message says why.
        KeyboardInterrupt: If the run was interrupted; what was recorded is in the run directory.
    """
    functions = {"train": train_fn, "model": model, "data": data, "prepare": prepare}
    search = {"space": searchspace, "optimizer": optimizer, "num_trials": num_trials}
    same: dict[str, Any] = {
        "name": name,
        "metric": metric,
        "direction": direction,
        "seed": seed,
        "hparams": hparams,
    }
    same |= {"cluster": cluster, "limits": limits, "journal": journal}
    same |= {"tensorboard": tensorboard, "observers": observers}
    goes_on = resume is not None
    loaded = load_call(functions, search, ablation, early_stop, distribution, same, goes_on=goes_on)
    if resume is None:
        result = _begin(loaded, Path(runs_dir), quiet)
    else:
        say(loaded, quiet=quiet)
        experiment = Experiment.of(loaded)
        observer = display(experiment, quiet=quiet)
        demands = _demands(experiment, (), None, False)
        with take_up(find_run(resume, runs_dir, quiet=quiet)) as stopped:
            result = resume_experiment(experiment, stopped, observer, demands, quiet=quiet)
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
