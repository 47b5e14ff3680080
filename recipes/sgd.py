"""A linear classifier on scikit-learn's digits, trained in passes; no TensorFlow."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split


def load_data(split: str) -> tuple[Any, Any]:
    """Return (rows of 64 pixels, labels) of one split: 1347 rows to train on, 450 to validate."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, labels, test_size=450, random_state=0, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


def train(
    data_gen: Any,
    reporter: Any,
    checkpoint: Any,
    seed: int,
    alpha: float,
    eta0: float,
    loss: str,
    penalty: str,
    l1_ratio: float = 0.15,
    budget: int = 9,
) -> float:
    """Make `budget` passes over the data, going on from a checkpoint where there is one."""
    train_x, train_y = data_gen.load("train")
    validation_x, validation_y = data_gen.load("validation")
    model = SGDClassifier(
        loss=loss,
        penalty=penalty,
        alpha=alpha,
        l1_ratio=l1_ratio,
        learning_rate="adaptive",
        eta0=eta0,
        random_state=seed,
    )
    if checkpoint.latest:
        model = pickle.loads((checkpoint.latest / "model.pickle").read_bytes())
    accuracy = reporter.last or 0.0  # with all steps done it has reported already
    for step in range(checkpoint.step, budget):
        model.partial_fit(train_x, train_y, classes=np.arange(10))
        accuracy = float(model.score(validation_x, validation_y))
        with checkpoint.save(step=step + 1) as directory:
            (directory / "model.pickle").write_bytes(pickle.dumps(model))
        reporter.broadcast(accuracy, step=step)
    return accuracy
