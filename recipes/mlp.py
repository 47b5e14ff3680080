"""A network of one hidden layer on scikit-learn's digits, in plain NumPy: its hyperparameters may change while it trains."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def load_data(split: str) -> tuple[Any, Any]:
    """Return (rows of 64 pixels, labels) of one split: 1347 rows to train on, 450 to validate."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, labels, test_size=450, random_state=0, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


def begin(seed: int, units: int) -> dict[str, Any]:
    """Return weights drawn from a seed, each with its velocity, which is 0."""
    rng = np.random.default_rng(seed)
    weights = {
        "w1": rng.normal(0.0, (2 / 64) ** 0.5, (64, units)),
        "b1": np.zeros(units),
        "w2": rng.normal(0.0, (1 / units) ** 0.5, (units, 10)),
        "b2": np.zeros(10),
    }
    return {**weights, **{f"v_{name}": np.zeros_like(values) for name, values in weights.items()}}


def gradients(state: dict[str, Any], x: Any, y: Any, dropout: float, rng: Any) -> dict[str, Any]:
    """Return those of the cross-entropy of a batch, hidden units left out at random."""
    hidden = np.maximum(x @ state["w1"] + state["b1"], 0.0)
    hidden *= (rng.random(hidden.shape) >= dropout) / (1.0 - dropout)
    logits = hidden @ state["w2"] + state["b2"]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    error = odds / odds.sum(axis=1, keepdims=True)
    error[np.arange(len(y)), y] -= 1.0
    error /= len(y)
    back = (error @ state["w2"].T) * (hidden > 0) / (1.0 - dropout)
    return {"w1": x.T @ back, "b1": back.sum(0), "w2": hidden.T @ error, "b2": error.sum(0)}


def train(
    data_gen: Any,
    reporter: Any,
    checkpoint: Any,
    seed: int,
    lr: float,
    momentum: float,
    dropout: float,
    units: int = 64,
    batch_size: int = 64,
    budget: int = 20,
) -> float:
    """Train to `budget` epochs, going on from a checkpoint where there is one, with the hyperparameters of this trial.

    A checkpoint has weights and velocities alone: what it was trained with until then, it doesn't say. So one that comes
    from another trial is trained on with this one's.
    """
    train_x, train_y = data_gen.load("train")
    validation_x, validation_y = data_gen.load("validation")
    state = begin(seed, units)
    if checkpoint.latest:
        with np.load(checkpoint.latest / "state.npz") as found:
            state = dict(found)
    accuracy = reporter.last or 0.0  # with all steps done it has reported already
    for epoch in range(checkpoint.step, budget):
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(len(train_y))
        for rows in np.split(order, range(batch_size, len(order), batch_size)):
            for name, slope in gradients(state, train_x[rows], train_y[rows], dropout, rng).items():
                velocity = state[f"v_{name}"] = momentum * state[f"v_{name}"] - lr * slope
                state[name] = state[name] + velocity
        hidden = np.maximum(validation_x @ state["w1"] + state["b1"], 0.0)
        found_labels = (hidden @ state["w2"] + state["b2"]).argmax(axis=1)
        accuracy = float((found_labels == validation_y).mean())
        with checkpoint.save(step=epoch + 1) as directory:
            np.savez(directory / "state.npz", **state)
        reporter.broadcast(accuracy, step=epoch)
    return accuracy
