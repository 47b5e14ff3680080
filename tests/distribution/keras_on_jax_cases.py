"""A train function for Keras on JAX: everything that differs by itself on several devices, in one model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dotrain.callbacks import KerasCheckpoint, KerasEpochEnd
from dotrain.training.errors import BadSetup

L = keras.layers


def load() -> tuple[Any, Any]:
    rng = np.random.RandomState(3)
    return rng.normal(size=(37, 6)).astype("float32"), rng.randint(0, 3, size=37)


def build(dist_strategy: Any) -> Any:
    with dist_strategy():
        model = keras.Sequential(
            [
                L.Dense(8, activation="relu", kernel_regularizer="l2"),
                L.Dropout(0.5),
                L.BatchNormalization(),
                L.Dense(3, activation="softmax"),
            ]
        )
        optimizer = keras.optimizers.Adam(0.05, global_clipnorm=0.1, gradient_accumulation_steps=2)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train(
    dist_strategy: Any, data_gen: Any, checkpoint: Any, reporter: Any, trial_dir: Path
) -> float:
    """Fit, evaluate and predict; 37 rows in batches of 8 end with one of 5, which nobody can share."""
    x, _ = load()
    model = build(dist_strategy)
    history = model.fit(
        data_gen.batch(8),
        validation_data=data_gen.batch(8, shuffle=False),
        epochs=2,
        verbose=0,
        callbacks=[KerasCheckpoint(checkpoint), KerasEpochEnd(reporter, "loss")],
    ).history
    found = {name: list(map(float, numbers)) for name, numbers in history.items()}
    found["weights"] = [float(np.abs(weights).sum()) for weights in model.get_weights()]
    found["evaluated"] = list(map(float, model.evaluate(data_gen.batch(8), verbose=0)))
    found["predicted"] = model.predict(data_gen.batch(8), verbose=0).ravel().tolist()
    found["predicted alone"] = model.predict(x, verbose=0).ravel().tolist()
    restored = build(dist_strategy)
    restored.build(x.shape)
    restored.load_weights(checkpoint.latest / KerasCheckpoint.FILE)
    found["restored"] = [float(np.abs(weights).sum()) for weights in restored.get_weights()]
    weighed = ""
    try:
        build(dist_strategy).fit(data_gen.batch(8), class_weight={0: 2.0}, verbose=0)
    except BadSetup as error:
        weighed = str(error)
    (trial_dir / "weighed.txt").write_text(weighed)
    (trial_dir / "found.json").write_text(json.dumps(found))
    return 1.0
