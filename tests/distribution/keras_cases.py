"""A train function that trains many small models in one process: the cases of exactness."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import tensorflow as tf

L = keras.layers
BATCH = 8


def rows(count: int, *shape: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, *shape)).astype("float32"), rng.integers(0, 3, size=count)


def shuffled(x: Any, y: Any) -> Any:
    return tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=1).batch(BATCH)


def endless(x: Any, y: Any) -> Iterator[tuple[Any, Any]]:
    while True:
        for start in range(0, len(x), BATCH):
            yield x[start : start + BATCH], y[start : start + BATCH]


class Sequence(keras.utils.PyDataset):
    def __init__(self, x: Any, y: Any) -> None:
        super().__init__()
        self.x, self.y = x, y

    def __len__(self) -> int:
        return -(-len(self.x) // BATCH)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        part = slice(index * BATCH, (index + 1) * BATCH)
        return self.x[part], self.y[part]


def dense() -> keras.Model:
    return keras.Sequential(
        [
            L.Input((12,)),
            L.Dense(16, activation="relu", kernel_regularizer="l2"),
            L.Dense(3, activation="softmax"),
        ]
    )


def conv() -> keras.Model:
    return keras.Sequential(
        [
            L.Input((8, 8, 1)),
            L.Conv2D(4, 3, activation="relu"),
            L.BatchNormalization(),
            L.MaxPooling2D(),
            L.SeparableConv2D(4, 2, padding="same"),
            L.AveragePooling2D(2),
            L.Flatten(),
            L.Dense(3, activation="softmax"),
        ]
    )


def masked() -> keras.Model:
    """Sequences whose zeros are padding, which batch normalization leaves out."""
    return keras.Sequential(
        [
            L.Input((6,)),
            L.Lambda(lambda x: keras.ops.cast(keras.ops.abs(x) * 3, "int32")),
            L.Embedding(16, 4, mask_zero=True),
            L.BatchNormalization(),
            L.GlobalAveragePooling1D(),
            L.Dense(3, activation="softmax"),
        ]
    )


def steep() -> keras.Model:
    """A model whose slope at a row of zeros is infinite."""
    return keras.Sequential(
        [
            L.Input((12,)),
            L.Dense(8),
            L.Lambda(lambda x: keras.ops.sqrt(keras.ops.abs(x))),
            L.Dense(3, activation="softmax"),
        ]
    )


SHAPES = {conv: (8, 8, 1), masked: (6,)}


def adam(**options: Any) -> Callable[[], Any]:
    return lambda: keras.optimizers.Adam(0.01, **options)


def sgd(**options: Any) -> Callable[[], Any]:
    return lambda: keras.optimizers.SGD(0.5, **options)


#: 37 rows end with a batch of 5, which two share as 3 and 2; 33 with one of 1, which only one gets.
CASES: dict[str, tuple[int, Callable[[], Any], Callable[[], Any], str]] = {
    "uneven": (37, dense, adam(), "tf.data"),
    "empty": (33, dense, adam(), "tf.data"),
    "batch normalization and convolution, empty": (33, conv, adam(), "tf.data"),
    "mask": (37, masked, adam(), "tf.data"),
    "infinite slope at zero, empty": (33, steep, adam(), "tf.data"),
    "global_clipnorm": (37, dense, sgd(global_clipnorm=0.1), "tf.data"),
    "clipvalue": (37, dense, sgd(clipvalue=0.01), "tf.data"),
    "gradient accumulation": (37, dense, adam(gradient_accumulation_steps=2), "tf.data"),
    "moving average": (37, dense, adam(use_ema=True, ema_overwrite_frequency=3), "tf.data"),
    "loss scale": (
        37,
        dense,
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
        "tf.data",
    ),
    "arrays": (37, dense, adam(), "numpy"),
    "generator": (37, dense, adam(), "generator"),
    "PyDataset": (37, dense, adam(), "PyDataset"),
}


def fit(model: keras.Model, x: Any, y: Any, how: str) -> Any:
    if how == "numpy":
        weights = {0: 1.0, 1: 2.0, 2: 0.5}
        return model.fit(
            x,
            y,
            batch_size=BATCH,
            epochs=2,
            verbose=0,
            validation_split=0.2,
            class_weight=weights,
        )
    if how == "generator":
        steps = -(-len(x) // BATCH)
        return model.fit(endless(x, y), steps_per_epoch=steps, epochs=2, verbose=0)
    if how == "PyDataset":
        return model.fit(Sequence(x, y), epochs=2, verbose=0, shuffle=False)
    return model.fit(shuffled(x, y), epochs=2, verbose=0, validation_data=shuffled(x, y))


def train(dist_strategy: Any, trial_dir: Path, seed: int) -> float:
    """Train every case; the losses, weights and predictions go to ``cases.json``."""
    found = {}
    for name, (count, build, optimizer, how) in CASES.items():
        keras.utils.set_random_seed(seed)
        x, y = rows(count, *SHAPES.get(build, (12,)))
        with dist_strategy():
            model = build()
            model.compile(optimizer(), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        history = fit(model, x, y, how).history
        numbers = [float(value) for values in history.values() for value in values]
        numbers += [float(abs(weights).sum()) for weights in model.get_weights()]
        predicted = model.predict(x, batch_size=BATCH, verbose=0)
        found[name] = [*numbers, *(float(value) for value in predicted[:, 0])]
    (trial_dir / "dropout.json").write_text(json.dumps(count_drops(dist_strategy)))
    forked_from = psutil.Process(os.getppid()).cmdline()
    (trial_dir / "imported.txt").write_text(forked_from[-1])
    model.save(trial_dir / "model.keras")
    (trial_dir / "cases.json").write_text(json.dumps(found))
    (trial_dir / "predicted.json").write_text(json.dumps(predicted.tolist()))
    return 1.0


def count_drops(dist_strategy: Any) -> list[float]:
    """Return for 64 units in how many of two rows each was kept, from one step on one batch."""
    with dist_strategy():
        model = keras.Sequential(
            [
                L.Input((64,)),
                L.Dropout(0.5, seed=3),
                L.Dense(1, use_bias=False, kernel_initializer="zeros"),
            ]
        )
        model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(np.ones((2, 64), "float32"), np.ones((2, 1)), batch_size=2, verbose=0)
    (kernel,) = model.get_weights()
    # The step is 2 per row in which the unit was kept (and doubled), over 2 rows.
    return [float(weight) / 2 for weight in kernel[:, 0]]
