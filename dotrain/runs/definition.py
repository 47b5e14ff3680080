"""What is to be run, whoever asked for it: a config file, or a call from Python."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotrain.config.loaded import LoadedConfig
from dotrain.config.secrets import without_secrets
from dotrain.core.limits import Limits
from dotrain.core.policy import Direction
from dotrain.core.sampling import Earlier
from dotrain.data.table import Table
from dotrain.store import Sync
from dotrain.store.storage import Place
from dotrain.training.program import Program
from dotrain.training.rehearsal import Rehearsal
from dotrain.usercode.archive import Code
from dotrain.usercode.by_value import packed
from dotrain.usercode.function import Functions


@dataclass(frozen=True)
class Experiment(LoadedConfig):
    """What is to be run: what was loaded, with what workers get of it.

    Attributes:
        functions: The user's functions.
        num_trials: Configurations to sample, or None if the optimizer knows.
        table_files: The table's files, if workers may not see them.
        rows: The table, ready, if the config declares one.
        of_columns: What people must know of a component that leaves out columns of it.
        rehearsal: What is known of a study before anything is trained.
        earlier: Results of before the run, for its sampler to learn from.
    """

    functions: Functions
    num_trials: int | None
    table_files: Code = field(default_factory=Code)
    rows: Table | None = None
    of_columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    rehearsal: Rehearsal | None = None
    earlier: Sequence[Earlier] = ()

    @classmethod
    def of(cls, loaded: LoadedConfig) -> Experiment:
        """Return the experiment of a config, or of a call, that was loaded."""
        closure = loaded.closure
        functions = Functions.of(
            *(loaded.train, loaded.model, loaded.dataset, loaded.models),
            prepare=loaded.prepare,
            packages=closure.packages,
            code=Code.of(
                closure.files, closure.texts, closure.data, closure.homes, closure.kept_in
            ),
            path=closure.path,
            needed=closure.needed,
            certain=closure.certain,
        )
        study = loaded.study if loaded.mode == "ablate" else None
        # The optimizer's own is that of the header, when a run goes on.
        num_trials = loaded.optimizer.num_trials
        fields = {**vars(loaded), "study": study}
        return cls(**fields, functions=functions, num_trials=num_trials)

    @property
    def name(self) -> str:
        """Of the run directory."""
        return self.settings.name

    @property
    def metric(self) -> str:
        """Name of the metric, of several of the main one."""
        return self.settings.metric

    @property
    def direction(self) -> Direction:
        """``max`` or ``min``; of several metrics, of the main one."""
        return self.settings.direction

    @property
    def metrics(self) -> Mapping[str, Direction]:
        """The direction of each, the main one first, where there are several; else empty."""
        return self.settings.metrics

    @property
    def seed(self) -> int:
        """Everything random is derived from it."""
        return self.settings.seed

    @property
    def limits(self) -> Limits:
        """What ends attempts and the run early, as far as the scheduler decides it."""
        search = self.settings.search if self.mode == "run" else None
        stop = search.stop.model_dump() if search and search.stop else {}
        return Limits.of({**self.settings.limits.model_dump(), **stop})

    @property
    def simulated(self) -> bool:
        """Whether nothing is trained."""
        return self.executor.is_virtual

    @property
    def sync(self) -> Sync:
        """What of the journal is on the disk before anything follows from it."""
        return self.settings.journal.sync or ("system" if self.simulated else "trial")

    @property
    def config(self) -> dict[str, Any]:
        """The config as plain data, for the run directory and the journal."""
        secret = {key: part for key, part in self.data.items() if key in ("cluster", "observers")}
        return {**self.data, **without_secrets(secret)}

    def program(
        self,
        token: str,
        run_dir: Path,
        storage: Place | None = None,
        began_with: Mapping[str, Any] | None = None,
    ) -> Program:
        """Return what workers get.

        Args:
            token: Names the run; unique.
            run_dir: The run directory.
            storage: Where the trials' files are kept, if not there.
            began_with: The hyperparameters that were fixed when the run began: what is searched by now, trials of
                before still get from there.
        """
        limits = self.settings.limits
        memory_mb = limits.trial_memory_mb
        return Program(
            token=token,
            functions=self.functions,
            metric=self.metric,
            hparams={**(began_with or {}), **self.settings.hparams},
            run_dir=str(run_dir),
            direction=self.direction,
            value=self.settings.value,
            strategy=packed(self.strategy),
            table=self.rows,
            study=self.study,
            memory_bytes=None if memory_mb is None else memory_mb * 1e6,
            silent_s=limits.silent_s,
            group_start_s=limits.group_start_s,
            grace_s=limits.grace_s,
            folder=_current_folder(),
            table_files=self.table_files,
            environment=self.environment,
            keeps_all=self.settings.checkpoints.keep == "all",
            storage=storage,
            further_metrics=tuple(self.metrics)[1:],
        )


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it is gone
        return ""
