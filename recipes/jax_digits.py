"""A perceptron on scikit-learn's digits in JAX with Optax: the same code for one process and for several."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dotrain.callbacks import JaxCheckpoint


def load_data(split: str) -> tuple[Any, Any]:
    """Return (rows of 64 pixels, labels) of one split: 1347 rows to train on, 450 to validate."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, labels, test_size=450, random_state=0, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


def create(seed: int, units: int) -> dict[str, Any]:
    """Return weights of a layer of `units`, and of one of ten classes."""
    one, two = jax.random.split(jax.random.key(seed))
    return {
        "hidden": jax.random.normal(one, (64, units)) / 8,
        "bias": jnp.zeros(units),
        "classes": jax.random.normal(two, (units, 10)) / units**0.5,
    }


def logits(weights: dict[str, Any], images: Any) -> Any:
    """Return what the model says of each image."""
    return jax.nn.relu(images @ weights["hidden"] + weights["bias"]) @ weights["classes"]


def train(
    data_gen: Any,
    dist_strategy: Any,
    reporter: Any,
    checkpoint: Any,
    seed: int,
    lr: float,
    units: int,
    budget: int = 9,
) -> float:
    """Make `budget` passes over the data, going on from a checkpoint where there is one."""
    optimizer = optax.adam(lr)
    with dist_strategy():
        weights = create(seed, units)
        state = optimizer.init(weights)
    kept = JaxCheckpoint(checkpoint)
    weights, state = kept.restore((weights, state))
    images, labels = data_gen.load("validation")

    def step(weights: Any, state: Any, x: Any, y: Any) -> Any:
        def loss(weights: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(logits(weights, x), y).mean()

        updates, state = optimizer.update(jax.grad(loss)(weights), state, weights)
        return optax.apply_updates(weights, updates), state

    def accuracy_of(weights: Any) -> Any:
        return jnp.mean(jnp.argmax(logits(weights, images), axis=1) == labels)

    jitted_step, jitted_accuracy = jax.jit(step), jax.jit(accuracy_of)
    accuracy = reporter.last or 0.0  # with all steps done it has reported already
    for epoch in range(checkpoint.step, budget):
        for x, y in data_gen.batch(epoch=epoch):
            weights, state = jitted_step(weights, state, x, y)
        accuracy = float(jitted_accuracy(weights))
        kept.save((weights, state), step=epoch + 1)
        reporter.broadcast(accuracy, step=epoch)
    return accuracy
