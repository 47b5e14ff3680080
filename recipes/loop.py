"""A training loop written by hand, with ``GradientTape``, on scikit-learn's handwritten digits.

The same function on one device, on several of one machine, and on several workers.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def load_data(split: str) -> tuple[Any, Any]:
    """Return (rows of 64 pixels, labels) of one split: 1347 rows to train on, 450 to validate."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype("float32")
    parts = train_test_split(images, labels, test_size=450, random_state=0, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


def train(
    data_gen: Any, dist_strategy: Any, reporter: Any, lr: float, batch_size: int, epochs: int = 4
) -> dict[str, float]:
    """Train for `epochs` epochs; the loss is the mean over the global batch."""
    with dist_strategy() as strategy:
        model = keras.Sequential(
            [
                keras.layers.Input((64,)),
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dense(10),
            ]
        )
        optimizer = keras.optimizers.SGD(lr, momentum=0.9)
        optimizer.build(model.trainable_variables)
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")

    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = cross_entropy(labels, model(images, training=True))
            # Divided by the whole batch's rows, not this device's: the sum is then the mean.
            loss = tf.reduce_sum(losses) / batch_size
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    @tf.function  # type: ignore[untyped-decorator, unused-ignore]
    def train_step(batch: Any) -> Any:
        return strategy.reduce("SUM", strategy.run(step, args=batch), axis=None)

    batches = strategy.experimental_distribute_dataset(data_gen.batch())
    images, labels = data_gen.load("validation")
    accuracy = loss = 0.0
    for epoch in range(epochs):
        losses = [float(train_step(batch)) for batch in batches]
        loss = sum(losses) / len(losses)
        predicted = tf.argmax(model(images), axis=1).numpy()
        accuracy = float((predicted == labels).mean())
        reporter.broadcast({"val_accuracy": accuracy, "loss": loss}, step=epoch)
    return {"val_accuracy": accuracy, "loss": loss}
