"""A config, or a call from Python, that has passed its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dotrain.ablation.study import Study
from dotrain.config.errors import Problem
from dotrain.config.schema import Settings
from dotrain.config.shipping import Shipment
from dotrain.config.source import Source
from dotrain.core.observer import Observer
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer
from dotrain.core.strategy import AbstractStrategy
from dotrain.data.declared import Declared
from dotrain.executors.base import AbstractExecutor
from dotrain.optimizers.auto import Choice
from dotrain.space import Searchspace
from dotrain.training.environment import Environment
from dotrain.usercode.closure import Closure
from dotrain.usercode.function import Described

#: What is to be done with a config: the search or single run, or the ablation study.
Mode = Literal["run", "ablate"]


@dataclass(frozen=True)
class LoadedConfig:
    """A config, or a call from Python, that has passed every check that doesn't need a worker.

    Attributes:
        settings: The validated file, overrides applied.
        data: The same as plain data, for ``config.yaml`` and the journal.
        space: The search space; empty for a single run.
        optimizer: Set up, not yet initialized.
        early_stop: The rule.
        strategy: How a trial spans devices and workers.
        executor: Where trials run; not prepared.
        observers: Who watches besides what shows the progress; not started.
        train: The train function, named or given by value, as the others.
        model: What ``model_gen`` calls, or None.
        dataset: What ``data_gen`` calls, or None.
        prepare: What is called before the first trial, or None.
        models: The hand-made models of the ablation study, by name.
        table: What ``data_gen`` draws from instead, or None.
        study: The ablation study that the config describes, or None.
        mode: What is to be done with it.
        closure: The user's files behind functions and plugins, and what goes with them.
        shipment: What that is, in numbers.
        environment: Variables for the processes of attempts.
        folder: Where paths in the config start from.
        archived: Whether the functions are those of an earlier run.
        source: Where every value came from.
        warnings: What a person should look at before anything is trained.
        notes: What was taken because nothing tells.
        choice: The optimizer that was chosen, None where the config names it.
        guessed: The same for reports: ``direction max``.
    """

    settings: Settings
    data: dict[str, Any]
    space: Searchspace
    optimizer: AbstractOptimizer
    early_stop: AbstractEarlyStop
    strategy: AbstractStrategy
    executor: AbstractExecutor
    observers: Sequence[Observer]
    train: Described
    model: Described | None
    dataset: Described | None
    prepare: Described | None
    models: Mapping[str, Described]
    table: Declared | None
    study: Study | None
    mode: Mode
    closure: Closure
    shipment: Shipment
    environment: Environment
    folder: Path
    archived: bool
    source: Source
    warnings: Sequence[Problem]
    notes: Sequence[Problem]
    choice: Choice | None
    guessed: tuple[str, ...]
