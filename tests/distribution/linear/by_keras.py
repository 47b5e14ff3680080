"""A linear model in Keras, for `multi_worker_mirrored`."""

from __future__ import annotations

import json
import os
from typing import Any

import keras
from happening import BATCH, MOMENTUM, RATE, epochs, happen, height, load, tell

from dotrain.callbacks import KerasCheckpoint


def data() -> Any:
    return load()


class Happening(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, case: str, begins_at: int, seat: tuple[int, int], driver: int) -> None:
        super().__init__()
        self.given = case, begins_at, seat, driver

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        case, begins_at, seat, driver = self.given
        happen(case, epoch, begins_at, *seat, driver)


class Report(keras.callbacks.Callback):  # type: ignore[misc]
    def __init__(self, reporter: Any, case: str) -> None:
        super().__init__()
        self.reporter, self.case = reporter, case

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.reporter.broadcast(logs["loss"] + height(self.case), epoch)
        print("past epoch", epoch)


def train(
    data_gen: Any,
    dist_strategy: Any,
    checkpoint: Any,
    reporter: Any,
    trial_dir: Any,
    case: str,
    driver: int,
    budget: int,
) -> None:
    given = json.loads(os.environ["TF_CONFIG"])
    rank, ranks = given["task"]["index"], len(given["cluster"]["worker"])
    with dist_strategy():
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        model = keras.Sequential([keras.layers.Input((2,)), layer])
        model.compile(keras.optimizers.SGD(RATE, momentum=MOMENTUM), "mse")
    begins_at = checkpoint.step
    tell(trial_dir, rank, ranks, begins_at)
    model.fit(
        data_gen.batch(BATCH, shuffle=False),
        initial_epoch=begins_at,
        epochs=epochs(case, budget),
        verbose=0,
        callbacks=[
            Happening(case, begins_at, (rank, ranks), driver),
            KerasCheckpoint(checkpoint),
            Report(reporter, case),
        ],
    )
