"""Callbacks of XGBoost that report to the search and keep checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from xgboost.callback import TrainingCallback

from dotrain.core.seeding import derive_seed
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadSetup
from dotrain.training.logs import find_metric, report_logs
from dotrain.training.reporter import Reporter

#: What XGBoost draws for: its parameters, and the value of each by which nothing is drawn.
_SAMPLES = {
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "colsample_bylevel": 1.0,
    "colsample_bynode": 1.0,
    "rate_drop": 0.0,
}


class XGBoostReport(TrainingCallback):  # type: ignore[misc]
    """Report the evaluations of every round; the step is the round, from 0.

    XGBoost counts rounds from 0 again where it continues a model; these steps go on.

    Args:
        reporter: The train function's ``reporter``.
        metric: Which one to report as the search's metric, as ``valid-auc`` with
            ``evals=[(data, "valid")]``, or ``auc``: that of the last data set; by default the one of
            the search's name.
    """

    def __init__(self, reporter: Reporter, metric: str | None = None) -> None:
        super().__init__()
        self._reporter = reporter
        self._metric = metric or reporter.metric

    def after_iteration(
        self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[Any]]]
    ) -> bool:
        """Report."""
        last = {
            data: {name: _mean(values[-1]) for name, values in scores.items()}
            for data, scores in evals_log.items()
        }
        logs, metric = find_metric(last, self._metric)
        step = model.num_boosted_rounds() - 1
        report_logs(self._reporter, logs, metric, step, "XGBoost's evaluations")
        return False


def _mean(score: Any) -> Any:
    """Return a score; of a cross-validation, which has (mean, deviation), the mean."""
    return score[0] if isinstance(score, tuple) else score


class XGBoostCheckpoint(TrainingCallback):  # type: ignore[misc]
    """Keep the model, every few rounds and at the end.

    Tell XGBoost where to go on: ``xgb.train(params, data, budget - checkpoint.step,
    xgb_model=keep.path, ...)``; of its scikit-learn classes, ``fit(..., xgb_model=keep.path)``. In
    the list of callbacks it stands before the one that reports.

    What XGBoost draws (``subsample``, ``colsample_...``, dropped trees) isn't in its model: an
    attempt that goes on draws by a seed of its step, and says in the trial's log that this isn't
    the uninterrupted training.

    Args:
        checkpoint: The train function's ``checkpoint``.
        every: Rounds from one to the next, >= 1.
    """

    FILE = "model.ubj"

    def __init__(self, checkpoint: Checkpoint, every: int = 10) -> None:
        super().__init__()
        self._checkpoint = checkpoint
        self._every = every
        self._begins_at = self._saved = checkpoint.step

    @property
    def path(self) -> str | None:
        """The newest model, for ``xgb_model=``; None if there is none."""
        latest = self._checkpoint.latest
        return None if latest is None else str(latest / self.FILE)

    def before_training(self, model: Any) -> Any:
        """Look whether training goes on where the checkpoint ends, and seed what is drawn.

        Raises:
            BadSetup: If it doesn't, or for a cross-validation.
        """
        if not hasattr(model, "save_model"):
            raise BadSetup(
                "xgb.cv trains several models, and XGBoostCheckpoint keeps one: leave it out there"
            )
        done = model.num_boosted_rounds()
        begins_at, self._begins_at = self._begins_at, 0
        if begins_at and done != begins_at:
            raise BadSetup(
                f"there is a checkpoint of {begins_at} rounds, but training begins with {done}: "
                "tell it where to go on by xgb_model=keep.path, with keep = "
                "XGBoostCheckpoint(checkpoint)"
            )
        if begins_at:
            self._checkpoint.restore_random_state()
            config = json.loads(model.save_config())
            if drawn := sorted(set(_drawn(config))):
                seed = int(config["learner"]["generic_param"]["seed"])
                model.set_param({"seed": derive_seed(seed, "step", begins_at)})
                print(
                    f"--- note: goes on at round {begins_at} with random draws of its own "
                    f"({', '.join(drawn)}): not as the uninterrupted training would"
                )
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Save, if it is time."""
        rounds = model.num_boosted_rounds()
        if rounds - self._saved >= self._every:
            self._save(model, rounds)
        return False

    def after_training(self, model: Any) -> Any:
        """Save the end."""
        rounds = model.num_boosted_rounds()
        if rounds > self._saved:
            self._save(model, rounds)
        return model

    def _save(self, model: Any, rounds: int) -> None:
        with self._checkpoint.save(step=rounds) as directory:
            model.save_model(directory / self.FILE)
        self._saved = rounds


def _drawn(config: Any) -> Iterator[str]:
    """Yield the parameters by which something is drawn, however deep in a model's configuration."""
    if isinstance(config, dict):
        for name, value in config.items():
            if name in _SAMPLES and isinstance(value, str):
                if float(value) != _SAMPLES[name]:
                    yield name
            else:
                yield from _drawn(value)
    elif isinstance(config, list):
        for part in config:
            yield from _drawn(part)
