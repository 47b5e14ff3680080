"""A train function that trains many small models in one process: the cases of exactness."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import psutil
import tensorflow as tf

from dotrain.frameworks.rows import ArrayRows
from dotrain.frameworks.tensorflow.framework import TensorFlow

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


def read_by_batches(x: Any, y: Any) -> Any:
    read = ArrayRows((x, y))
    read.rows_at_once = 20
    return TensorFlow().batches(read, BATCH, 1, 0)


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


class Case(NamedTuple):
    """A model with an optimizer, and the ways in which it is fitted, one after the other.

    Tracing takes nearly all the time, so a model is compiled once, and validated and asked for
    predictions only where its layers matter; an optimizer changes nothing there.
    """

    build: Callable[[], Any]
    optimizer: Callable[[], Any]
    #: (how the rows come, how many): 37 rows end with a batch of 5, which two share as 3 and 2;
    #: 33 with one of 1, which only one gets.
    fits: tuple[tuple[str, int], ...]
    validated: bool = False
    predicted: bool = False


CASES = {
    "dense": Case(
        dense,
        adam(),
        (
            ("tf.data", 37),
            ("tf.data", 33),
            ("numpy", 37),
            ("generator", 37),
            ("PyDataset", 37),
            ("rows", 37),
        ),
        validated=True,
        predicted=True,
    ),
    "batch normalization and convolution": Case(
        conv, adam(), (("tf.data", 33),), validated=True, predicted=True
    ),
    "mask": Case(masked, adam(), (("tf.data", 37),), validated=True, predicted=True),
    "infinite slope at zero": Case(steep, adam(), (("tf.data", 33),)),
    "gradient accumulation, global_clipnorm": Case(
        dense, adam(gradient_accumulation_steps=2, global_clipnorm=0.1), (("tf.data", 37),)
    ),
    "moving average, clipvalue": Case(
        dense, sgd(use_ema=True, ema_overwrite_frequency=3, clipvalue=0.01), (("tf.data", 37),)
    ),
    "loss scale": Case(
        dense,
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)),
        (("tf.data", 37),),
    ),
}


#: What two devices of one process train, which get their rows and sums as workers do: of each case the first fits.
MIRRORED = {
    "dense": (("tf.data", 37), ("tf.data", 33)),
    "batch normalization and convolution": (("tf.data", 33),),
    "gradient accumulation, global_clipnorm": (("tf.data", 37),),
    "loss scale": (("tf.data", 37),),
}


def fit(model: keras.Model, x: Any, y: Any, how: str, validated: bool) -> Any:
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
    if how == "rows":
        return model.fit(read_by_batches(x, y), epochs=2, verbose=0)
    validation = shuffled(x, y) if validated else None
    return model.fit(shuffled(x, y), epochs=2, verbose=0, validation_data=validation)


def train(dist_strategy: Any, trial_dir: Path, seed: int, is_mirrored: bool) -> float:
    """Train the cases; the losses, weights and predictions go to ``cases.json``."""
    found = {}
    for name, case in CASES.items():
        fits = MIRRORED.get(name, ()) if is_mirrored else case.fits
        if not fits:
            continue
        keras.utils.set_random_seed(seed)
        with dist_strategy():
            model = case.build()
            model.compile(
                case.optimizer(), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
            )
        for how, count in fits:
            x, y = rows(count, *SHAPES.get(case.build, (12,)))
            history = fit(model, x, y, how, case.validated).history
            numbers = [float(value) for values in history.values() for value in values]
            numbers += [float(abs(weights).sum()) for weights in model.get_weights()]
            if case.predicted:
                numbers += [float(n) for n in model.predict(x, batch_size=BATCH, verbose=0)[:, 0]]
            found[f"{name}: {how}, {count} rows"] = numbers
        if case.build is dense and case.predicted:
            model.save(trial_dir / "model.keras")
            predicted = model.predict(rows(37, 12)[0], batch_size=BATCH, verbose=0)
            (trial_dir / "predicted.json").write_text(json.dumps(predicted.tolist()))
    if is_mirrored:
        (trial_dir / "empty.txt").write_text(loop_over_no_rows(dist_strategy))
    (trial_dir / "dropout.json").write_text(json.dumps(count_drops(dist_strategy)))
    forked_from = psutil.Process(os.getppid()).cmdline()
    (trial_dir / "imported.txt").write_text(forked_from[-1])
    (trial_dir / "cases.json").write_text(json.dumps(found))
    return 1.0


def loop_over_no_rows(dist_strategy: Any) -> str:
    """Return what a loop of one's own is told, of whose last batch a device gets nothing."""
    with dist_strategy() as strategy:
        total = tf.Variable(0.0, aggregation=tf.VariableAggregation.SUM)
    rows = tf.data.Dataset.range(5).batch(4)

    @tf.function  # type: ignore[untyped-decorator]
    def step(batch: Any) -> None:
        strategy.run(lambda x: total.assign_add(tf.cast(len(x), tf.float32)), (batch,))

    try:
        for batch in strategy.experimental_distribute_dataset(rows):
            step(batch)
    except Exception:
        return traceback.format_exc()
    return ""


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
