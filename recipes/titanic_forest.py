"""Who survived the Titanic: a random forest on the columns that a declared table gives."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import log_loss


def arrays(data_gen: Any, split: str) -> tuple[Any, Any]:
    """Return one split whole."""
    rows, labels = zip(*data_gen.batch(512, split=split, shuffle=False), strict=True)
    return np.concatenate(rows), np.concatenate(labels)


def train(data_gen: Any, seed: int, trees: int = 100, leaf: int = 3) -> dict[str, float]:
    """Grow `trees` trees with at least `leaf` passengers in each leaf."""
    model = RandomForestClassifier(trees, min_samples_leaf=leaf, random_state=seed)
    model.fit(*arrays(data_gen, "train"))
    rows, labels = arrays(data_gen, "validation")
    loss = log_loss(labels, model.predict_proba(rows))
    return {"val_loss": float(loss), "val_accuracy": float(model.score(rows, labels))}
