"""A small PyTorch net on scikit-learn's handwritten digits, in a loop of its own.

The same function on one process and by a group of several (`configs/digits-torch.yaml`).
"""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F


def load_data(split: str) -> tuple[Any, Any]:
    """Return (images, labels) of one split: 1347 rows to train on, 450 to validate."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).reshape(-1, 1, 8, 8).astype("float32")
    parts = train_test_split(images, labels, test_size=450, random_state=0, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


def build_model(filters: int = 16, dropout: float = 0.2) -> nn.Module:
    """Return two convolutions with batch normalization, and a dense layer."""
    return nn.Sequential(
        nn.Conv2d(1, filters, 3, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(),
        nn.Conv2d(filters, 2 * filters, 3, padding=1, bias=False),
        nn.BatchNorm2d(2 * filters),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(32 * filters, 10),
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
    with dist_strategy() as strategy:
        model = model_gen.create()
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9)
    if checkpoint.latest:
        state = torch.load(checkpoint.latest / "state.pt")
        strategy.load_full_state_dict(state, model, optimizer)
        checkpoint.restore_random_state()
    result: dict[str, float] = {}
    for epoch in range(checkpoint.step, budget):
        model.train()
        for images, labels in data_gen.batch(epoch=epoch):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        result = validated(model, data_gen, strategy)
        state = strategy.full_state_dict(model, optimizer)
        with checkpoint.save(step=epoch + 1) as folder:
            torch.save(state, folder / "state.pt")
        reporter.broadcast(result, step=epoch)
    # Broken off between its last report and its end, an attempt has nothing left to train.
    return result or validated(model, data_gen, strategy)


def validated(model: Any, data_gen: Any, strategy: Any) -> dict[str, float]:
    """Return accuracy and loss over all rows, whichever rank has them."""
    model.eval()
    right = loss = rows = 0.0
    with torch.no_grad():
        for images, labels in data_gen.batch(150, split="validation"):
            logits = model(images)
            right += float((logits.argmax(1) == labels).sum())
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            rows += len(labels)
    rows = strategy.sum(rows)
    return {"val_accuracy": strategy.sum(right) / rows, "val_loss": strategy.sum(loss) / rows}
