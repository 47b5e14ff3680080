"""Malignant or benign: logistic regression on scikit-learn's breast cancer data; no TensorFlow."""

from __future__ import annotations

from typing import Any

from sklearn.datasets import load_breast_cancer
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

#: Radius and perimeter nearly say the same: each stands in for the other.
COLUMNS = (
    "worst radius",
    "worst perimeter",
    "worst texture",
    "worst smoothness",
    "worst concave points",
)


def load_data(split: str, features: Any, seed: int) -> tuple[Any, Any]:
    """Return (rows, labels) of one split; each seed has another quarter to validate on."""
    cancer = load_breast_cancer()
    names = list(cancer.feature_names)
    rows = cancer.data[:, [names.index(column) for column in features.select(COLUMNS)]]
    parts = train_test_split(
        rows, cancer.target, test_size=0.25, random_state=seed, stratify=cancer.target
    )
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


def train(data_gen: Any, C: float = 10.0) -> dict[str, float]:
    """Fit once; a larger `C` is less regularization."""
    train_x, train_y = data_gen.load("train")
    validation_x, validation_y = data_gen.load("validation")
    if train_x.shape[1]:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))
    else:  # without any column, how often each class occurs is all there is to learn
        model = DummyClassifier(strategy="prior")
    model.fit(train_x, train_y)
    loss = log_loss(validation_y, model.predict_proba(validation_x))
    return {"val_loss": float(loss), "val_accuracy": float(model.score(validation_x, validation_y))}
