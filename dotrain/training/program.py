"""A program: the user's functions and what every trial of a run shares, as workers get it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cloudpickle

from dotrain.ablation.study import Study
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.policy import Direction
from dotrain.core.strategy import AbstractStrategy
from dotrain.data.table import Table
from dotrain.executors.threads import in_environment
from dotrain.frameworks.registry import import_packages, loaded
from dotrain.store.storage import Place
from dotrain.training.environment import Environment
from dotrain.training.failure import describe_failure
from dotrain.usercode import home
from dotrain.usercode.archive import Code
from dotrain.usercode.function import FunctionRef, Functions
from dotrain.usercode.load import load_function, take_in, whereabouts


@dataclass(frozen=True)
class Program:
    """Everything that is the same for all trials of a run.

    Attributes:
        token: Names the run; unique.
        functions: The user's.
        metric: Name of the metric.
        hparams: Fixed hyperparameters.
        run_dir: The run directory.
        direction: Which values are better.
        value: Which report is the value of a function that returns nothing: ``last`` or ``best``;
            None if nobody has said so.
        strategy: How a trial spans devices and workers, as bytes.
        table: What ``data_gen`` draws from instead of a function, or None.
        study: The ablation study whose arms the trials are, or None.
        memory_bytes: The most that an attempt may hold in a process of its own; None is no limit.
        silent_s: The longest it may show no sign of life there, in seconds; None is no limit.
        group_start_s: How long the ranks of a trial may take to find each other, in seconds.
        grace_s: How long an attempt may take to its next report when its worker is told to end, in seconds.
        folder: The driver's current folder, from which paths are shown.
        table_files: The table's files, for workers that don't see them; empty where all do.
        environment: Variables for the processes of attempts.
        keeps_all: Whether trials keep all their checkpoints, not only the newest.
        storage: Where their files are kept, if not in the run directory.
        further_metrics: The names of the other metrics, where there are several.
    """

    token: str
    functions: Functions
    metric: str
    hparams: Mapping[str, Any]
    run_dir: str
    direction: Direction = "max"
    value: str | None = None
    strategy: bytes = b""
    table: Table | None = None
    study: Study | None = None
    memory_bytes: float | None = None
    silent_s: float | None = None
    group_start_s: float = 60.0
    grace_s: float = 25.0
    folder: str = ""
    table_files: Code = field(default_factory=Code)
    environment: Environment = field(default_factory=Environment)
    keeps_all: bool = False
    storage: Place | None = None
    further_metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedProgram:
    """A program whose functions are imported.

    Attributes:
        program: The program.
        train: The train function.
        model: What ``model_gen`` calls, or None.
        data: What ``data_gen`` calls, or None.
        models: An ablation study's hand-made models, by name.
        prepare: What is still to be called in this process before anything else, or None.
    """

    program: Program
    train: Callable[..., Any]
    model: Callable[..., Any] | None
    data: Callable[..., Any] | None
    models: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    prepare: Callable[[], Any] | None = None


def load_strategy(program: Program) -> AbstractStrategy:
    """Return the program's strategy; `AbstractStrategy.begin` has not been called."""
    return cloudpickle.loads(program.strategy)  # type: ignore[no-any-return]


def load_program(program: Program, moved: Path | None = None) -> LoadedProgram:
    """Import the user's functions.

    Args:
        program: The program.
        moved: Where another process has unpacked the user's code, if one has.

    Raises:
        UsageError: If a function isn't there; whatever importing the user's modules raises.
    """
    functions = program.functions
    home.begin(program.folder)
    moved = take_in(functions.code, functions.path, moved)
    import_packages(functions.packages)

    def load(ref: FunctionRef | None) -> Callable[..., Any] | None:
        return None if ref is None else load_function(ref, moved)

    train = load_function(functions.train, moved)
    model, data, prepare = map(load, (functions.model, functions.data, functions.prepare))
    models = {name: load_function(ref, moved) for name, ref in functions.models.items()}
    threads = in_environment(os.environ)
    if threads is not None:
        for framework in loaded():
            framework.set_threads(threads, functions.code.source)
    return LoadedProgram(_with_table(program), train, model, data, models, prepare)


def _with_table(program: Program) -> Program:
    """Return the program with its table where it lies on this machine."""
    if program.table is None or (folder := whereabouts(program.table_files)) is None:
        return program
    names = {path: folder / name for path, name in program.table.names.items()}
    return replace(program, table=program.table.moved(names))


def prepared(loaded: LoadedProgram) -> LoadedProgram | Failure:
    """Call what is to be called before anything else, unless that has been done.

    Returns:
        The program with nothing left to call; or how it failed, for each attempt to tell.
    """
    if loaded.prepare is None:
        return loaded
    try:
        loaded.prepare()
    except (Exception, SystemExit) as error:
        found = describe_failure(error)
        return replace(found, kind=FailureKind.SETUP, message=f"prepare failed: {found.message}")
    return replace(loaded, prepare=None)
