"""A small residual network in PyTorch on scikit-learn's handwritten digits, its layers named by block."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional


def load_data(split: str, seed: int) -> Any:
    """Return one split: 1347 images to train on, other 450 for each seed to validate."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).reshape(-1, 1, 8, 8).astype("float32")
    parts = train_test_split(images, labels, test_size=450, random_state=seed, stratify=labels)
    train_x, validation_x, train_y, validation_y = parts
    return (train_x, train_y) if split == "train" else (validation_x, validation_y)


class Block(nn.Module):  # type: ignore[misc]
    """Two convolutions with a way around them."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)

    def forward(self, x: Any) -> Any:
        """Return what went in, and what both convolutions make of it."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(x + self.bn2(self.conv2(y)))


class Net(nn.Module):  # type: ignore[misc]
    """Two residual blocks between a convolution and a classifier."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, filters, 3, padding=1)
        self.block1 = Block(filters)
        self.pool = nn.MaxPool2d(2)
        self.block2 = Block(filters)
        self.drop = nn.Dropout(0.2)
        self.digit = nn.Linear(filters * 16, 10)

    def forward(self, x: Any) -> Any:
        """Return a score for each digit."""
        x = self.block1(functional.relu(self.stem(x)))
        x = self.block2(self.pool(x))
        return self.digit(self.drop(x.flatten(1)))


def build_model(filters: int = 8) -> nn.Module:
    """Return the network."""
    return Net(filters)


def train(
    model_gen: Any, data_gen: Any, reporter: Any, lr: float = 5.0e-3, budget: int = 4
) -> dict[str, float]:
    """Train for `budget` epochs."""
    model = model_gen.create()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    validation_x, validation_y = map(torch.as_tensor, data_gen.load("validation"))
    accuracy = 0.0
    for epoch in range(budget):
        model.train()
        for x, y in data_gen.batch(epoch=epoch):
            loss = functional.cross_entropy(model(torch.as_tensor(x)), torch.as_tensor(y))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            found = model(validation_x).argmax(1)
        accuracy = (found == validation_y).float().mean().item()
        reporter.broadcast(accuracy)
    return {"val_accuracy": accuracy}
