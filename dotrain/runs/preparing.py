"""What comes before a run begins: what is said of it, the rehearsal, and who shows its progress."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from dotrain.ablation.runner import StudyRunner
from dotrain.config.errors import ConfigError
from dotrain.config.loaded import LoadedConfig
from dotrain.core.asking import calling
from dotrain.core.observer import Observer
from dotrain.errors import UsageError
from dotrain.executors.base import open_ports_text
from dotrain.executors.neighbours import others_here
from dotrain.report.choosing import choose_observer
from dotrain.report.forest import draw_at_end
from dotrain.report.junit import write_junit
from dotrain.report.subject import Subject
from dotrain.results import expected_result
from dotrain.results.gates import Gate, check_gates
from dotrain.results.text import count_text
from dotrain.runs.definition import Experiment
from dotrain.runs.header import make_header
from dotrain.runs.result import Demands
from dotrain.runs.tables import with_table, withheld
from dotrain.training.rehearsal import rehearse


def say(loaded: LoadedConfig, *, quiet: bool) -> None:
    """Say what a person should know before anything is trained.

    Args:
        loaded: What is to be run.
        quiet: Say nothing.
    """
    if not quiet:
        sys.stderr.writelines(f"warning: {warning}\n" for warning in loaded.warnings)
        sys.stderr.writelines(f"note: {note}\n" for note in loaded.notes)
        if loaded.choice is not None:
            sys.stderr.write(f"note: search.optimizer: {loaded.choice}\n")
        text = open_ports_text(loaded.executor, loaded.strategy.open_ports)
        if text and (others_here() or not loaded.executor.runs_on_this_machine):
            sys.stderr.write(f"warning: {text}\n")


def rehearsed(
    experiment: Experiment, loaded: LoadedConfig, runs_dir: Path, *, quiet: bool
) -> Experiment:
    """Make the declared table ready, and build every arm of a study once, if these are there.

    Args:
        experiment: What is to be run.
        loaded: What it was made of.
        runs_dir: As of `with_table`.
        quiet: Say nothing.

    Returns:
        The experiment, with what was learnt.

    Raises:
        ConfigError: With every component that would change nothing or can't be left out; with what is wrong with
            the data.
    """
    experiment = with_table(experiment, runs_dir, quiet=quiet)
    if experiment.study is None or experiment.simulated:
        return experiment
    with withheld(experiment):
        found = rehearse(experiment.program("rehearsal", Path("/nowhere")))
    if found.problems:
        paths = {name: one.path for name, one in experiment.study.components.items()}
        raise ConfigError([loaded.source.problem(paths[name], m) for name, m in found.problems])
    if not quiet:
        sys.stderr.writelines(f"note: {note}\n" for note in found.notes)
    return replace(experiment, rehearsal=found)


def display(experiment: Experiment, *, quiet: bool = False, is_new: bool = False) -> Observer:
    """Return what shows the progress of an experiment on stderr, if anything.

    Args:
        experiment: What is run.
        quiet: Show nothing.
        is_new: Say first what the plan has to say of a run that begins.
    """
    with calling(experiment.optimizer):
        plan = experiment.optimizer.plan()
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
    metrics = experiment.metrics or {experiment.metric: experiment.direction}
    goals = ", ".join(f"{direction} {metric}" for metric, direction in metrics.items())
    title = f"{experiment.name}: {what}, {goals}{size}"
    subject = Subject(
        title,
        experiment.metric,
        experiment.direction,
        plan,
        is_virtual=experiment.simulated,
        metrics=tuple(experiment.metrics),
        **shape,
    )
    # A live table and a debugger in the same terminal don't go together.
    return choose_observer(subject, live=not experiment.executor.runs_in_this_process, quiet=quiet)


def demands_of(
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
        check_gates(gates, expected_result(make_header(experiment), space).paths)
    recorded = [] if junit is None else [partial(write_junit, junit)]
    return Demands(gates, [*recorded, draw_at_end])
