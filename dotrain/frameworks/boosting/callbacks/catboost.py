"""Callbacks of CatBoost that report to the search and keep checkpoints."""

from __future__ import annotations

import os
import shutil
import weakref
from typing import Any

import catboost  # noqa: F401  (whoever uses these has it)

from dotrain.temporary import Kind, OwnFolder
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadReport, BadSetup, EarlyStop
from dotrain.training.logs import find_metric, report_logs
from dotrain.training.reporter import Reporter


class CatBoostReport:
    """Report the evaluations of every round; the step is the round, from 0.

    CatBoost hides an exception of its callbacks in one of its own. So a trial that is to stop ends
    its training here in CatBoost's way, and ends as stopped when the train function returns or
    reports again.

    Args:
        reporter: The train function's ``reporter``.
        metric: Which one to report as the search's metric, as ``validation-AUC``, or ``AUC``: that
            of the last data set; by default the one of the search's name.
    """

    def __init__(self, reporter: Reporter, metric: str | None = None) -> None:
        self._reporter = reporter
        self._metric = metric or reporter.metric
        self._evaluated = 0

    def after_iteration(self, info: Any) -> bool:
        """Report; with ``metric_period`` only what was evaluated in this round."""
        last = {
            data: {name: values[-1] for name, values in scores.items() if values}
            for data, scores in info.metrics.items()
        }
        evaluated = max((len(v) for m in info.metrics.values() for v in m.values()), default=0)
        if evaluated and evaluated == self._evaluated:
            return True
        self._evaluated = evaluated
        logs, metric = find_metric(last, self._metric)
        try:
            report_logs(self._reporter, logs, metric, info.iteration - 1, "CatBoost's evaluations")
        except (EarlyStop, BadReport) as error:
            self._reporter.raise_later(error)
            return False
        return True


class CatBoostCheckpoint:
    """Keep CatBoost's own snapshot, of every round or of every few.

    Give a model the parameters that have snapshots written and read, and keep the last one when
    it is fitted; those before are a round behind::

        model = CatBoostClassifier(iterations=budget, learning_rate=lr, **keep.params)
        model.fit(..., callbacks=[keep, CatBoostReport(reporter)])
        keep.save()

    Set the learning rate: by itself it depends on the number of rounds, and a promotion would go on
    with another one. In the list of callbacks it stands before the one that reports.

    Args:
        checkpoint: The train function's ``checkpoint``.
        every: Rounds from one to the next, >= 1.
    """

    FILE = "snapshot"

    def __init__(self, checkpoint: Checkpoint, every: int = 1) -> None:
        self._checkpoint = checkpoint
        self._every = every
        self._begins_at = self._done = self._saved = checkpoint.step
        folder = OwnFolder(Kind.SNAPSHOT)
        weakref.finalize(self, folder.remove)
        self._file = folder.path / self.FILE
        if (latest := checkpoint.latest) is not None:
            shutil.copy(latest / self.FILE, self._file)
        #: Parameters of CatBoost: where its snapshots are, and the threads of this slot.
        self.params: dict[str, Any] = {
            "train_dir": str(folder.path),
            "save_snapshot": True,
            "snapshot_file": str(self._file),
            "snapshot_interval": 0,
        }
        # No variable of the environment holds for CatBoost: it would take all cores.
        if threads := os.environ.get("OMP_NUM_THREADS", "").split(",")[0]:
            self.params["thread_count"] = int(threads)

    def after_iteration(self, info: Any) -> bool:
        """Save, if it is time.

        Raises:
            BadSetup: If training hasn't gone on where the checkpoint ends; CatBoost wraps it.
        """
        begins_at, self._begins_at = self._begins_at, 0
        if begins_at and info.iteration != begins_at + 1:
            raise BadSetup(
                f"there is a checkpoint of {begins_at} rounds, but training begins with "
                f"{info.iteration - 1}: tell it where to go on by CatBoostClassifier("
                "**keep.params), with keep = CatBoostCheckpoint(checkpoint)"
            )
        # What is there was written as this round began.
        self._take(info.iteration - 1, self._every)
        self._file.unlink(missing_ok=True)
        self._done = info.iteration
        return True

    def save(self) -> None:
        """Keep the last round, behind ``fit``: then the snapshot is of all of them."""
        self._take(self._done, 1)

    def _take(self, done: int, every: int) -> None:
        if done - self._saved >= every and self._file.exists():
            with self._checkpoint.save(step=done) as directory:
                shutil.copy(self._file, directory / self.FILE)
            self._saved = done
