"""What is to be run, whoever asked for it: a config file, or a call from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotrain.ablation.study import Study
from dotrain.config.load import LoadedConfig
from dotrain.config.secrets import without_secrets
from dotrain.core.limits import Limits
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.strategy import AbstractStrategy
from dotrain.executors.base import AbstractExecutor
from dotrain.training.program import Program
from dotrain.training.rehearsal import Rehearsal
from dotrain.training.tabular import TabularSource
from dotrain.usercode.archive import Code
from dotrain.usercode.by_value import packed
from dotrain.usercode.function import Functions


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
        strategy: How a trial spans devices and workers.
        functions: The user's functions.
        executor: Where trials run; it serves one run.
        limits: What ends attempts and the run early.
        num_trials: Configurations to sample, or None if the optimizer knows.
        table: What ``data_gen`` draws from instead of a function, or None.
        study: The ablation study, if this is one.
        rehearsal: What is known of it before anything is trained.
        tensorboard: Whether to write TensorBoard's event files.
        guessed: What was taken because nothing told: ``direction max``.
        value: Which report is the value of a function that returns nothing, if anybody says so.
        archived: Whether the code comes from a run directory's archive.
        config: The config as plain data, for the run directory and the journal.
        config_dir: The folder that its paths start from.
    """

    name: str
    metric: str
    direction: Direction
    seed: int
    hparams: Mapping[str, Any]
    optimizer: AbstractOptimizer
    early_stop: AbstractEarlyStop
    strategy: AbstractStrategy
    functions: Functions
    executor: AbstractExecutor
    limits: Limits
    num_trials: int | None
    config: Mapping[str, Any]
    config_dir: Path
    table: TabularSource | None = None
    study: Study | None = None
    rehearsal: Rehearsal | None = None
    tensorboard: bool = False
    guessed: tuple[str, ...] = ()
    value: str | None = None
    archived: bool = False

    @property
    def simulated(self) -> bool:
        """Whether nothing is trained."""
        return self.executor.is_virtual

    def program(self, token: str, run_dir: Path) -> Program:
        """Return what workers get.

        Args:
            token: Names the run; unique.
            run_dir: The run directory.
        """
        return Program(
            token=token,
            functions=self.functions,
            metric=self.metric,
            hparams=dict(self.hparams),
            run_dir=str(run_dir),
            direction=self.direction,
            value=self.value,
            strategy=packed(self.strategy),
            table=self.table,
            study=self.study,
        )

    @classmethod
    def of_config(cls, loaded: LoadedConfig) -> Experiment:
        """Return the experiment of a loaded config."""
        settings = loaded.settings
        functions = Functions.of(
            *(loaded.train, loaded.model, loaded.dataset, loaded.models),
            packages=loaded.closure.packages,
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
            strategy=loaded.strategy,
            functions=functions,
            executor=loaded.executor,
            limits=Limits(**settings.limits.model_dump()),
            num_trials=loaded.optimizer.num_trials,
            table=_table_of(loaded),
            study=loaded.study if loaded.mode == "ablate" else None,
            tensorboard=settings.writes_tensorboard(is_virtual=loaded.executor.is_virtual),
            guessed=loaded.guessed,
            value=settings.value,
            archived=loaded.archived,
            config={**loaded.data, **without_secrets(_section_of(loaded.data, "cluster"))},
            config_dir=loaded.folder,
        )


def _table_of(loaded: LoadedConfig) -> TabularSource | None:
    table = loaded.table
    if table is None:
        return None
    return TabularSource(Path(table.file), table.label, table.validation)


def _section_of(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {key: data[key]} if key in data else {}
