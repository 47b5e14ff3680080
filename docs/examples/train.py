"""A train function without a framework: logistic regression with NumPy."""

import numpy as np


def load_data() -> tuple[np.ndarray, np.ndarray]:
    """Return 600 points of two classes, of which every tenth has the wrong label."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(600, 8))
    labels = inputs @ rng.normal(size=8) > 0
    return inputs, labels ^ (rng.random(600) < 0.1)


def train(reporter, seed, lr, momentum=0.0, epochs=20):
    """Return the share of the held-out points that are classified as labelled."""
    inputs, labels = load_data()
    rng = np.random.default_rng(seed)
    weights, step = rng.normal(size=8), np.zeros(8)
    accuracy = 0.0
    for epoch in range(epochs):
        for batch in rng.permutation(400).reshape(20, 20):
            odds = np.clip(inputs[batch] @ weights, -30, 30)
            gradient = inputs[batch].T @ (1 / (1 + np.exp(-odds)) - labels[batch]) / 20
            step = momentum * step - lr * gradient
            weights += step
        accuracy = float(np.mean((inputs[400:] @ weights > 0) == labels[400:]))
        reporter.broadcast(accuracy, epoch)
    return accuracy
