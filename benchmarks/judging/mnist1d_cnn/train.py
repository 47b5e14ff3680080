"""A small convolutional network on MNIST-1D, trained epoch by epoch from where its checkpoint is."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from mnist1d.data import get_dataset_args, make_dataset
from torch import nn

_VALIDATED = 1000


@cache
def prepare() -> tuple[torch.Tensor, torch.Tensor]:
    """Make all series, on this machine: once on each host, before the first trial."""
    state = np.random.get_state()
    data = make_dataset(get_dataset_args())
    np.random.set_state(state)
    return torch.tensor(data["x"], dtype=torch.float32)[:, None], torch.tensor(data["y"])


def load_data(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one split: 3,000 series of 40 points to train on, 1,000 to validate."""
    x, y = prepare()
    rows = slice(_VALIDATED, None) if split == "train" else slice(None, _VALIDATED)
    return x[rows], y[rows]


def build(channels: int, kernel: int, dropout: float) -> nn.Module:
    """Return three convolutions and a linear layer."""
    layers: list[nn.Module] = []
    before = 1
    for _ in range(3):
        layers += [nn.Conv1d(before, channels, kernel, stride=2, padding=kernel // 2), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels * 5, 10))


def train(
    data_gen: Any,
    reporter: Any,
    checkpoint: Any,
    lr: float,
    momentum: float,
    weight_decay: float,
    batch_size: int,
    channels: int,
    kernel: int,
    dropout: float,
    budget: int = 27,
) -> float:
    """Train for `budget` epochs; the share of the validation series that it tells right."""
    (x, y), (held_x, held_y) = data_gen.load("train"), data_gen.load("validation")
    model = build(channels, kernel, dropout)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay
    )
    if checkpoint.latest:
        state = torch.load(checkpoint.latest / "state.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    accuracy = 0.0
    for epoch in range(checkpoint.step, budget):
        model.train()
        for rows in torch.randperm(len(x)).split(batch_size):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracy = float((model(held_x).argmax(1) == held_y).float().mean())
        with checkpoint.save(step=epoch + 1) as directory:
            both = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(both, directory / "state.pt")
        reporter.broadcast(accuracy, step=epoch)
    return accuracy
