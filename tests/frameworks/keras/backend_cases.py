"""A train function for Keras on any backend, whose result says every bit that it has come to."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dotrain.callbacks import KerasCheckpoint, KerasEpochEnd
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.seeding import seed_everything

L = keras.layers


def load(split: str = "train") -> tuple[Any, Any]:
    rng = np.random.RandomState(3)
    x = rng.normal(size=(37, 6)).astype("float32")
    y = (x.sum(axis=1) > 0).astype("int32")
    return (x, y) if split == "train" else (x[:10], y[:10])


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self._epoch:
            os.kill(os.getpid(), signal.SIGKILL)


class Draws(keras.callbacks.Callback):
    """Draws from every global generator, as a user's own augmentation would."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        drawn = keras.random.uniform(()), random.random(), np.random.random()
        logs["drawn"] = sum(map(float, drawn))


def fit(checkpoint: Any, data_gen: Any, budget: int, *more: Any) -> Any:
    """Return every bit of what a training comes to, and its last numbers."""
    shape = [] if keras.backend.backend() != "tensorflow" else [L.Input((6,))]
    model = keras.Sequential(
        [
            *shape,  # elsewhere it is built by a look at the data
            L.Dense(8, activation="relu"),
            L.Dropout(0.5),
            L.BatchNormalization(),
            L.GaussianNoise(0.1),
            L.Dense(2, activation="softmax"),
        ]
    )
    rate = keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.8)
    loss = "sparse_categorical_crossentropy"
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    history = model.fit(
        data_gen.batch(8, epoch=checkpoint.step),
        validation_data=data_gen.batch(8, "validation"),
        class_weight={0: 1.0, 1: 2.0},
        epochs=budget,
        initial_epoch=checkpoint.step,
        verbose=0,
        callbacks=[Draws(), KerasCheckpoint(checkpoint), *more],
    ).history
    arrays = [*model.get_weights(), *map(keras.ops.convert_to_numpy, model.optimizer.variables)]
    bits = hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in arrays))
    return bits.hexdigest(), {name: numbers[-1] for name, numbers in history.items()}


def train(
    checkpoint: Any,
    reporter: Any,
    data_gen: Any,
    trial_dir: Path,
    seed: int,
    at: int,
    budget: int = 4,
) -> float:
    """Train, and be killed at epoch `at`; when that has been continued, train once more without."""
    more = [KerasEpochEnd(reporter, "loss")]
    if not checkpoint.step:
        more.append(Kill(at))
    continued = fit(checkpoint, data_gen, budget, *more)
    seed_everything(seed)
    whole = fit(Checkpoint(trial_dir / "whole", seed=seed), data_gen, budget)
    told = {
        "backend": keras.backend.backend(),
        "tensorflow": "tensorflow" in sys.modules,
        "continued": continued,
        "whole": whole,
    }
    (trial_dir / "told.json").write_text(json.dumps(told))
    return float(whole[1]["loss"])
