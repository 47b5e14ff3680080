"""LCBench by its surrogate of YAHPO Gym: learning curves and durations of 34 data sets, from a folder of the user's.

The folder has `model.onnx`, `encoding.json` and `config_space.json` as YAHPO Gym publishes them. ``pip install onnxruntime``.

Sources: Zimmer, Lindauer and Hutter, "Auto-PyTorch Tabular", TPAMI 2021 (the data); Pfisterer, Schneider, Moosbauer,
Binder and Bischl, "YAHPO Gym", AutoML 2022 (the surrogate).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dotrain.space import Categorical, Domain, Float, Int, Params, Searchspace
from judging.problems import Curve, Problem, Scale

GROUP = "lcbench"
TUNING = "lcbench-tuning"
EPOCHS = 52
#: Of the rungs 2, 6, 18, 54; the steps after the last epoch take no time and change nothing.
RUNGS = (2, 54, 3)
WORKERS = 4
MARKS = (5, 10, 20, 40)
#: The order in which the model has its numbers.
_NUMBERS = (
    *("epoch", "batch_size", "learning_rate", "momentum"),
    *("weight_decay", "num_layers", "max_units", "max_dropout"),
)
_DATA_SET = "OpenML_task_id"
#: What is drawn to find the best score and the median.
_DRAWN, _ROUNDS, _KEPT, _NEIGHBOURS = 10_000, 8, 20, 50

_Array = npt.NDArray[np.float64]


class Surrogate:
    """The model of all data sets.

    Attributes:
        data_sets: Their names, in the order of the configuration space.
        space: What is searched: all but the data set and the epoch.
    """

    def __init__(self, folder: Path) -> None:
        """Load it.

        Args:
            folder: As above.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._model = onnxruntime.InferenceSession(str(folder / "model.onnx"), options)
        self._codes = json.loads((folder / "encoding.json").read_text())[_DATA_SET]
        found = json.loads((folder / "config_space.json").read_text())["hyperparameters"]
        self.data_sets: list[str] = next(h["choices"] for h in found if h["name"] == _DATA_SET)
        searched = [h for h in found if h["name"] not in (_DATA_SET, "epoch")]
        self.space = Searchspace(**{h["name"]: _domain(h) for h in searched})

    def ask(self, data_set: str, numbers: _Array) -> tuple[_Array, _Array]:
        """Return validation accuracies in percent, and seconds since the training began.

        Args:
            data_set: One of `data_sets`.
            numbers: A row of each configuration and epoch.
        """
        code = np.full((len(numbers), 1), self._codes[data_set], np.int32)
        given = {"x_cat": code, "x_cont": numbers.astype(np.float32)}
        (answer,) = self._model.run(None, given)
        # time, val_accuracy, val_cross_entropy, val_balanced_accuracy and two of the test's
        return answer[:, 1].astype(float), answer[:, 0].astype(float)

    def curve_of(self, data_set: str, params: Params) -> Curve:
        """Return a configuration's whole learning curve."""
        rows = np.tile(row_of(params), (EPOCHS, 1))
        rows[:, 0] = np.arange(1, EPOCHS + 1)
        accuracies, since_s = self.ask(data_set, rows)
        # A surrogate's time may go backwards by a little.
        durations = np.diff(np.maximum.accumulate(np.maximum(since_s, 0.0)), prepend=0.0)
        more = RUNGS[1] - EPOCHS
        return Curve(
            [*accuracies.tolist(), *[float(accuracies[-1])] * more],
            [*durations.tolist(), *[0.0] * more],
        )

    def scale_of(self, data_set: str) -> tuple[Scale, float]:
        """Return what there is to reach, and the mean seconds of a training."""
        from random import Random

        rng = Random(0)
        drawn = [self.space.sample(rng) for _ in range(_DRAWN)]
        rows = np.array([row_of(one) for one in drawn])
        scores, seconds = self.ask(data_set, rows)
        middle, unit_s = float(np.median(scores)), float(np.mean(seconds))
        best = float(scores.max())
        found = sorted(zip(scores.tolist(), drawn, strict=True), key=lambda one: -one[0])[:_KEPT]
        for number in range(_ROUNDS):
            width = 0.2 * 0.6**number
            near = [self._near(one, width, rng) for _, one in found for _ in range(_NEIGHBOURS)]
            scores, _ = self.ask(data_set, np.array([row_of(one) for one in near]))
            found += zip(scores.tolist(), near, strict=True)
            found = sorted(found, key=lambda one: -one[0])[:_KEPT]
        climbed = max(max(self.curve_of(data_set, one).scores) for _, one in found)
        return Scale(best, climbed, middle), unit_s

    def _near(self, params: Params, width: float, rng: Any) -> Params:
        domains = self.space.domains

        def value_of(name: str) -> Any:
            place = domains[name].to_unit(params[name]) + rng.gauss(0.0, width)
            return domains[name].from_unit(min(max(place, 0.0), 1.0))

        return self.space.build(value_of)


def row_of(params: Params) -> _Array:
    """Return a configuration at the last epoch as the model has it."""
    return np.array([float({"epoch": EPOCHS, **params}[name]) for name in _NUMBERS])


def _domain(data: dict[str, Any]) -> Domain:
    if data["type"] == "categorical":
        return Categorical(values=data["choices"])
    bounds, scale = (data["lower"], data["upper"]), "log" if data["log"] else "linear"
    kind: Any = Int if data["type"] == "uniform_int" else Float
    domain: Domain = kind(range=bounds, scale=scale)
    return domain


@lru_cache(maxsize=1)
def surrogate(folder: Path) -> Surrogate:
    """Return the model of a folder."""
    return Surrogate(folder)


def data_sets(folder: Path, *, tuning: bool) -> Sequence[str]:
    """Return the data sets that are for the table, or those that are for tuning.

    Args:
        folder: As of `Surrogate`.
        tuning: Whether those with even numbers are meant, counted from 0.
    """
    return surrogate(folder).data_sets[0 if tuning else 1 :: 2]


def lcbench(folder: Path, data_set: str, scale: Scale, unit_s: float) -> Problem:
    """Return the problem of a data set.

    Args:
        folder: As of `Surrogate`.
        data_set: One of `data_sets`.
        scale: As of `Surrogate.scale_of`.
        unit_s: The same.
    """
    model = surrogate(folder)

    @lru_cache(maxsize=4096)
    def cached(key: tuple[tuple[str, Any], ...]) -> Curve:
        return model.curve_of(data_set, dict(key))

    return Problem(
        name=data_set,
        group=TUNING if model.data_sets.index(data_set) % 2 == 0 else GROUP,
        space=model.space,
        curve_of=lambda params: cached(tuple(params.items())),
        scale=scale,
        unit_s=unit_s,
        marks=MARKS,
        workers=WORKERS,
        rungs=RUNGS,
    )
