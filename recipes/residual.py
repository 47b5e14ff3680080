"""A small residual network on scikit-learn's handwritten digits, its layers named by block."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dotrain.callbacks import KerasEpochEnd


def shift(row: tuple[Any, Any], number: Any) -> tuple[Any, Any]:
    """Move an image by at most one pixel each way; the random `number` says where to."""
    image, label = row
    padded = tf.pad(image, [[1, 1], [1, 1], [0, 0]])
    down, right = number % 3, number // 3 % 3
    return tf.ensure_shape(padded[down : down + 8, right : right + 8], (8, 8, 1)), label


def load_data(split: str, seed: int, augment: bool = True) -> Any:
    """Return one split: 1347 images to train on, moved anew each epoch; other 450 for each seed."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    parts = train_test_split(images, labels, test_size=450, random_state=seed, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    if split != "train":
        return validation_x, validation_y
    rows = tf.data.Dataset.from_tensor_slices((train_x, train_y))
    if not augment:
        return rows
    numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    return tf.data.Dataset.zip(rows, numbers).map(shift)


def block(x: Any, name: str, filters: int) -> Any:
    """Return two convolutions with a way around them."""
    layers = keras.layers
    # Keras' default momentum, 0.99, needs more steps than there are here.
    norm = functools.partial(layers.BatchNormalization, momentum=0.9)
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv1")(x)
    y = norm(name=f"{name}_bn1")(y)
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(y)
    y = norm(name=f"{name}_bn2")(y)
    y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu2")(y)


def build_model(filters: int = 8) -> keras.Model:
    """Return two residual blocks, not yet compiled."""
    inputs = keras.layers.Input((8, 8, 1))
    x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="stem")(inputs)
    x = block(x, "block1", filters)
    x = keras.layers.MaxPooling2D(name="pool")(x)
    x = block(x, "block2", filters)
    x = keras.layers.Flatten(name="flat")(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax", name="digit")(x))


def train(
    model_gen: Any,
    data_gen: Any,
    dist_strategy: Any,
    reporter: Any,
    lr: float = 5.0e-3,
    budget: int = 4,
) -> dict[str, float]:
    """Train for `budget` epochs."""
    with dist_strategy():
        model = model_gen.create()
        model.compile(
            optimizer=keras.optimizers.Adam(lr),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
    history = model.fit(
        data_gen.batch(),
        validation_data=data_gen.batch(450, split="validation"),
        epochs=budget,
        verbose=2,
        callbacks=[KerasEpochEnd(reporter, "val_accuracy")],
    ).history
    return {"val_accuracy": history["val_accuracy"][-1], "val_loss": history["val_loss"][-1]}
