"""A small Keras CNN on scikit-learn's handwritten digits (1797 images of 8 x 8, ten classes)."""

from __future__ import annotations

from typing import Any

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dotrain.callbacks import KerasCheckpoint, KerasEpochEnd


def load_data(split: str) -> tuple[Any, Any]:
    """Return (images, labels) of one split: 1347 rows to train on, 450 to validate."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    parts = train_test_split(images, labels, test_size=450, random_state=0, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


def build_model(
    filters: int = 16, units: int = 64, activation: str = "relu", dropout: float = 0.2
) -> keras.Model:
    """Return two convolutions and a dense layer, not yet compiled."""
    return keras.Sequential(
        [
            keras.layers.Input((8, 8, 1)),
            keras.layers.Conv2D(filters, 3, padding="same", activation=activation),
            keras.layers.Conv2D(filters * 2, 3, padding="same", activation=activation),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation=activation),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def train(
    model_gen: Any,
    data_gen: Any,
    dist_strategy: Any,
    reporter: Any,
    checkpoint: Any,
    lr: float,
    budget: int = 6,
) -> dict[str, float]:
    """Train for `budget` epochs, going on from a checkpoint where there is one."""
    with dist_strategy():
        model = model_gen.create()
        model.compile(
            optimizer=keras.optimizers.Adam(lr),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
    validation = data_gen.batch(450, split="validation")
    model.fit(
        data_gen.batch(),
        validation_data=validation,
        initial_epoch=checkpoint.step,
        epochs=budget,
        verbose=2,
        callbacks=[KerasCheckpoint(checkpoint), KerasEpochEnd(reporter, "val_accuracy")],
    )
    loss, accuracy = model.evaluate(validation, verbose=0)
    return {"val_accuracy": accuracy, "val_loss": loss}
