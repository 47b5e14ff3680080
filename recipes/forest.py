"""A random forest on scikit-learn's digits: how accurate, and how large; no TensorFlow."""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split


def load_data(split: str) -> tuple[Any, Any]:
    """Return (rows of 64 pixels, labels) of one split: 1347 rows to train on, 450 to validate."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images, labels, test_size=450, random_state=0, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


def train(
    data_gen: Any, seed: int, trees: int, max_depth: int, min_leaf: int, max_features: float
) -> dict[str, float]:
    """Fit once; the nodes of all trees are what the forest takes in memory, and about what an answer takes."""
    train_x, train_y = data_gen.load("train")
    validation_x, validation_y = data_gen.load("validation")
    model = RandomForestClassifier(
        n_estimators=trees,
        max_depth=max_depth,
        min_samples_leaf=min_leaf,
        max_features=max_features,
        random_state=seed,
    )
    model.fit(train_x, train_y)
    nodes = sum(tree.tree_.node_count for tree in model.estimators_)
    return {"val_accuracy": float(model.score(validation_x, validation_y)), "nodes": float(nodes)}
