"""The Python API: `lagom` runs an experiment; `run`, `ablate` and `resume` one of a config."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dotrain import plugins
from dotrain.ablation.builder import AblationStudy
from dotrain.ablation.runner import StudyRunner
from dotrain.config.errors import ConfigError
from dotrain.config.load import LoadedConfig
from dotrain.config.plan import ARCHIVED
from dotrain.config.secrets import without_secrets
from dotrain.config.writing import to_yaml
from dotrain.core.instructions import RunStatus
from dotrain.core.limits import Limits
from dotrain.core.observer import Observer
from dotrain.core.policy import (
    AbstractEarlyStop,
    AbstractOptimizer,
    Direction,
    policy_error,
)
from dotrain.core.strategy import AbstractStrategy
from dotrain.core.trial import Mark
from dotrain.errors import DotrainError, UsageError
from dotrain.report.choosing import choose_observer
from dotrain.report.forest import draw_at_end
from dotrain.report.junit import recording, write_junit
from dotrain.report.result import print_result
from dotrain.report.stdout import printing
from dotrain.report.subject import Subject
from dotrain.results import best_trial, expected_result
from dotrain.results.gates import Gate, check_gates, parse_gates
from dotrain.results.text import count_text
from dotrain.runs.definition import Experiment
from dotrain.runs.finding import find_run
from dotrain.runs.from_python import (
    GivenFunctions,
    checked_settings,
    executor_of,
    functions_of,
    judged_direction,
    make_plugin,
    plain_hparams,
    plugin_data,
    refuse,
    runner_of,
)
from dotrain.runs.header import make_header
from dotrain.runs.loading import load, load_again
from dotrain.runs.result import Demands, Result
from dotrain.runs.session import refuse_newer
from dotrain.runs.session import resume as resume_experiment
from dotrain.runs.session import run as run_experiment
from dotrain.space import Searchspace
from dotrain.store import RunDir, read_journal, replay, written_by
from dotrain.store.journal import to_json
from dotrain.training.rehearsal import Rehearsal, rehearse

#: What the table and the plot of a study are made with.
_STATISTICS = ("scipy", "statsmodels", "matplotlib")

#: As `open` takes them.
AnyPath = str | os.PathLike[str]

__all__ = ["Result", "ablate", "lagom", "resume", "run"]


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
        _say(loaded, quiet)
        experiment = Experiment.of_config(loaded)
        demands = _demands(experiment, gates, junit, allow_simulated)
        observer = display(experiment, quiet=quiet, is_new=True)
        return run_experiment(experiment, Path(runs_dir), observer, demands)


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


def _say(loaded: LoadedConfig, quiet: bool) -> None:
    """Say what a person should know before anything is trained."""
    if not quiet:
        sys.stderr.writelines(f"warning: {warning}\n" for warning in loaded.warnings)
        sys.stderr.writelines(f"note: {note}\n" for note in loaded.notes)
        if loaded.archived:
            sys.stderr.write(f"note: {ARCHIVED}\n")


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
        _say(loaded, quiet)
        experiment = Experiment.of_config(loaded)
        demands = _demands(experiment, gates, junit, allow_simulated)
        if not experiment.simulated:
            found = rehearse(experiment.program("rehearsal", Path("/nowhere")))
            _refuse_what_changes_nothing(loaded, found)
            if not quiet:
                sys.stderr.writelines(f"note: {note}\n" for note in found.notes)
            experiment = replace(experiment, rehearsal=found)
        observer = display(experiment, quiet=quiet)
        return run_experiment(experiment, Path(runs_dir), observer, demands)


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


def _refuse_what_changes_nothing(loaded: LoadedConfig, found: Rehearsal) -> None:
    if not found.problems:
        return
    assert loaded.study is not None
    components = loaded.study.components
    raise ConfigError(
        [loaded.source.problem(components[name].path, message) for name, message in found.problems]
    )


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
        run_dir = RunDir.open(path := find_run(path, runs_dir, quiet=quiet))
        header = next(read_journal(run_dir.journal), None)
        if header is None:
            raise UsageError(f"{path}: the run never began; there is nothing to go on with")
        refuse_newer(run_dir, written_by([header]))
        loaded = load_again(run_dir, header, overrides)
        _say(loaded, quiet)
        experiment = Experiment.of_config(loaded)
        demands = _demands(experiment, gates, junit, allow_simulated)
        observer = display(experiment, quiet=quiet)
        return resume_experiment(experiment, run_dir, observer, demands, quiet=quiet)


def display(experiment: Experiment, *, quiet: bool = False, is_new: bool = False) -> Observer:
    """Return what shows the progress of an experiment on stderr, if anything.

    Args:
        experiment: What is run.
        quiet: Show nothing.
        is_new: Say first what the plan has to say of a run that begins.
    """
    try:
        plan = experiment.optimizer.plan()
    except Exception as error:
        raise policy_error(experiment.optimizer, error) from error
    if plan is not None and is_new and not quiet:
        sys.stderr.writelines(f"note: {note}\n" for note in plan.notes)
    size = "" if plan is None else f", {count_text(plan.configurations, 'configuration')}"
    what = type(experiment.optimizer).__name__
    shape: dict[str, Any] = {}
    if isinstance(experiment.optimizer, StudyRunner):
        study = experiment.optimizer.study
        shape = {"arms": tuple(arm.name for arm in study.arms), "seeds": study.seeds}
        what = f"ablation of {count_text(len(study.components), 'component')}"
        arms, seeds = count_text(len(study.arms) - 1, "arm"), count_text(study.seeds, "seed")
        size = f", {arms} and the baseline, {seeds} each"
    title = f"{experiment.name}: {what}, {experiment.direction} {experiment.metric}{size}"
    subject = Subject(
        title,
        experiment.metric,
        experiment.direction,
        plan,
        is_virtual=experiment.simulated,
        **shape,
    )
    # A live table and a debugger in the same terminal don't go together.
    return choose_observer(subject, live=not experiment.executor.runs_in_this_process, quiet=quiet)


def lagom(
    train_fn: Callable[..., Any],
    searchspace: Searchspace | None = None,
    optimizer: str | Mapping[str, Any] | AbstractOptimizer | None = None,
    num_trials: int | None = None,
    name: str = "lagom",
    direction: Direction | None = None,
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
        resume: An earlier run of this call, to go on with: as `resume` takes a run.
        quiet: Show no progress.

    Returns:
        The result; ``result.best`` has the best trial, ``result["components"]`` an ablation's
        numbers.

    Raises:
        UsageError: If an argument can't be.
        DotrainError: If no trial gave a result, or the run could not go on; the message says why.
        KeyboardInterrupt: If the run was interrupted; what was recorded is in the run directory.
    """
    fixed = plain_hparams(hparams)
    study_data: dict[str, Any] = {}
    if ablation is not None:
        if not isinstance(ablation, AblationStudy):
            raise UsageError(f"ablation: expected an AblationStudy, got {ablation!r}")
        _check_study_is_alone(searchspace, optimizer, num_trials)
        model, data = ablation.generators(model, data)
        study_data = {
            "ablation": ablation.section(),
            **({"model": "lagom:model"} if model else {}),
            **({"data": "lagom:data"} if data else {}),
        }
    settings = checked_settings(
        **study_data,
        name=name,
        metric=metric,
        **({} if direction is None else {"direction": direction}),
        seed=seed,
        hparams=fixed,
        cluster=dict(cluster or {}),
        limits=dict(limits or {}),
        **({} if tensorboard is None else {"tensorboard": tensorboard}),
    )
    going = {"goes_on": resume is not None, "quiet": quiet}
    guessed = judged_direction(metric, direction, **going)
    given = GivenFunctions(train_fn, model, data, ablation.variants if ablation else {})
    if searchspace is not None and not isinstance(searchspace, Searchspace):
        raise UsageError(f"searchspace: expected a Searchspace, got {type(searchspace).__name__}")
    space = searchspace or Searchspace()
    chosen = optimizer if optimizer is not None else ("random" if space.names else "single")
    policy: AbstractOptimizer
    if ablation is not None:
        policy = runner_of(ablation, settings, given)
        num_trials = policy.plan().configurations
    else:
        policy = make_plugin(plugins.OPTIMIZERS, chosen)
    if num_trials is None and policy.needs_num_trials:
        raise UsageError("num_trials is required: how many configurations to sample")
    if num_trials is not None and (type(num_trials) is not int or num_trials < 1):
        raise UsageError(f"num_trials: expected a whole number >= 1, got {num_trials!r}")
    policy.setup(space, num_trials, settings.direction, seed)
    try:
        policy.check()
    except ValueError as error:
        raise UsageError(str(error)) from None
    refuse(given.check(fixed, space, policy), **going)
    rule: AbstractEarlyStop = make_plugin(plugins.EARLY_STOP, early_stop)
    spread = {"strategy": "single"} if distribution is None else distribution
    strategy: AbstractStrategy = make_plugin(plugins.STRATEGIES, spread, "strategy")
    executor = executor_of(settings.cluster)
    experiment = Experiment(
        name=settings.name,
        metric=metric,
        direction=settings.direction,
        seed=seed,
        hparams=fixed,
        optimizer=policy,
        early_stop=rule,
        strategy=strategy,
        functions=functions_of(given),
        executor=executor,
        limits=Limits(**settings.limits.model_dump()),
        num_trials=num_trials if space.names or ablation else 1,
        config={
            "name": name,
            "metric": metric,
            "direction": settings.direction,
            "seed": seed,
            "hparams": fixed,
            "search": {
                "space": json.loads(to_json(space.to_data())),
                "optimizer": plugin_data(chosen, policy),
                "num_trials": num_trials,
                "early_stop": plugin_data(early_stop, rule),
            },
            "ablation": ablation.section() if ablation else None,
            "distribution": plugin_data(spread, strategy, "strategy"),
            "cluster": without_secrets(json.loads(to_json(dict(cluster or {})))),
            "limits": settings.limits.model_dump(),
        },
        config_dir=Path.cwd(),
        study=policy.study if isinstance(policy, StudyRunner) else None,
        tensorboard=settings.writes_tensorboard(is_virtual=executor.is_virtual),
        guessed=guessed,
    )
    if ablation is not None and not experiment.simulated and resume is None:
        experiment = _rehearsed(experiment)
    observer = display(experiment, quiet=quiet, is_new=resume is None)
    demands = Demands(at_end=[draw_at_end])
    if resume is not None:
        found = find_run(resume, runs_dir, quiet=quiet)
        result = resume_experiment(experiment, RunDir.open(found), observer, demands)
    else:
        result = run_experiment(experiment, Path(runs_dir), observer, demands)
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


def _check_study_is_alone(*others: object) -> None:
    if any(other is not None for other in others):
        raise UsageError(
            "ablation: a study runs every arm with every seed; take searchspace, optimizer and "
            "num_trials out, and give the best hyperparameters as hparams"
        )


def _rehearsed(experiment: Experiment) -> Experiment:
    found = rehearse(experiment.program("rehearsal", Path("/nowhere")))
    if found.problems:
        raise UsageError("\n".join(f"{name}: {message}" for name, message in found.problems))
    return replace(experiment, rehearsal=found)
