"""Callbacks of LightGBM that report to the search and keep checkpoints."""

from __future__ import annotations

import re
from typing import Any

import lightgbm  # noqa: F401  (whoever uses these has it)

from dotrain.core.seeding import derive_seed
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadSetup
from dotrain.training.logs import find_metric, report_logs
from dotrain.training.reporter import Reporter

#: What LightGBM draws for: its parameters, and the value of each by which nothing is drawn.
_SAMPLES = {
    "bagging_fraction": "1",
    "pos_bagging_fraction": "1",
    "neg_bagging_fraction": "1",
    "feature_fraction": "1",
    "feature_fraction_bynode": "1",
    "extra_trees": "0",
}
#: Its seeds for that.
_SEEDS = ("bagging_seed", "feature_fraction_seed", "extra_seed", "drop_seed", "objective_seed")


class LightGBMReport:
    """Report the evaluations of every round; the step is the round, from 0.

    Args:
        reporter: The train function's ``reporter``.
        metric: Which one to report as the search's metric, as ``valid-auc`` with
            ``valid_names=["valid"]``, or ``auc``: that of the last data set; by default the one of
            the search's name.
    """

    def __init__(self, reporter: Reporter, metric: str | None = None) -> None:
        self._reporter = reporter
        self._metric = metric or reporter.metric
        #: After what saves, and before LightGBM's own early stopping. Of the instance: LightGBM gives an order to
        #: those that have none of their own.
        self.order = 26

    def __call__(self, env: Any) -> None:
        """Report."""
        results: dict[str, dict[str, Any]] = {}
        for data, name, value, *_ in env.evaluation_result_list or ():
            results.setdefault(data, {})[name] = value
        logs, metric = find_metric(results, self._metric)
        report_logs(self._reporter, logs, metric, env.iteration, "LightGBM's evaluations")


class LightGBMCheckpoint:
    """Keep the model, every few rounds and at the end.

    Tell LightGBM where to go on: ``lgb.train(params, data, budget - checkpoint.step,
    init_model=keep.path, ...)``; of its scikit-learn classes, ``fit(..., init_model=keep.path)``.

    What LightGBM draws (bagging, fractions of the features, ``extra_trees``, ``goss``, ``dart``)
    isn't in its model: an attempt that goes on would draw what the first rounds have drawn. With
    ``{**params, **keep.seeds}`` it draws by seeds of its step. Either way it says in the trial's
    log that this isn't the uninterrupted training.

    Args:
        checkpoint: The train function's ``checkpoint``.
        every: Rounds from one to the next, >= 1.
    """

    FILE = "model.txt"

    def __init__(self, checkpoint: Checkpoint, every: int = 10) -> None:
        self._checkpoint = checkpoint
        self._every = every
        self.order = 25
        self._begins_at = self._saved = checkpoint.step
        #: Parameters of LightGBM: seeds for what an attempt draws that goes on; else none.
        self.seeds: dict[str, int] = {}
        if self._begins_at:
            self.seeds = {name: derive_seed(0, name, self._begins_at) for name in _SEEDS}

    @property
    def path(self) -> str | None:
        """The newest model, for ``init_model=``; None if there is none."""
        latest = self._checkpoint.latest
        return None if latest is None else str(latest / self.FILE)

    def __call__(self, env: Any) -> None:
        """Save, if it is time.

        Raises:
            BadSetup: If training hasn't gone on where the checkpoint ends, or in a cross-validation.
        """
        if hasattr(env.model, "boosters"):
            raise BadSetup(
                "lgb.cv trains several models, and LightGBMCheckpoint keeps one: leave it out there"
            )
        begins_at, self._begins_at = self._begins_at, 0
        if begins_at:
            self._look(env, begins_at)
        rounds = env.iteration + 1
        if rounds == env.end_iteration or rounds - self._saved >= self._every:
            with self._checkpoint.save(step=rounds) as directory:
                env.model.save_model(directory / self.FILE, num_iteration=-1)
            self._saved = rounds

    def _look(self, env: Any, begins_at: int) -> None:
        if env.begin_iteration != begins_at:
            raise BadSetup(
                f"there is a checkpoint of {begins_at} rounds, but training begins with "
                f"{env.begin_iteration}: tell it where to go on by init_model=keep.path, with keep "
                "= LightGBMCheckpoint(checkpoint)"
            )
        text = env.model.model_to_string(num_iteration=1)
        found = dict(re.findall(r"^\[(\w+): (.*)\]$", text, re.MULTILINE))
        drawn = [name for name, none in _SAMPLES.items() if found.get(name, none) != none]
        if found.get("bagging_freq", "0") == "0":  # then it bags nothing
            drawn = [name for name in drawn if "bagging" not in name]
        drawn += [
            word
            for word in ("goss", "dart")
            if word in (found.get("boosting"), found.get("data_sample_strategy"))
        ]
        if not drawn:
            return
        print(
            f"--- note: goes on at round {begins_at} with random draws of its own "
            f"({', '.join(drawn)}): not as the uninterrupted training would"
        )
        if any(found.get(name) != str(seed) for name, seed in self.seeds.items()):
            print(
                "--- note: it draws once more what its first rounds have drawn; seeds of the step "
                "are {**params, **keep.seeds}"
            )
