"""A linear model in PyTorch, for `ddp` and `fsdp`."""

from __future__ import annotations

from typing import Any

import torch
from happening import BATCH, MOMENTUM, RATE, epochs, happen, height, load, tell
from torch import nn


def data() -> Any:
    return tuple(torch.from_numpy(part) for part in load())


def model() -> Any:
    linear = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(linear.weight)
    return linear


def train(
    model_gen: Any,
    data_gen: Any,
    dist_strategy: Any,
    checkpoint: Any,
    reporter: Any,
    trial_dir: Any,
    case: str,
    driver: int,
    budget: int,
) -> None:
    with dist_strategy() as strategy:
        model = model_gen.create()
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM)
    begins_at, rank, ranks = checkpoint.step, strategy.rank, strategy.num_replicas_in_sync
    if checkpoint.latest:
        state = torch.load(checkpoint.latest / "state.pt")
        strategy.load_full_state_dict(state, model, optimizer)
    tell(trial_dir, rank, ranks, begins_at)
    for epoch in range(begins_at, epochs(case, budget)):
        happen(case, epoch, begins_at, rank, ranks, driver)
        total = torch.zeros(())
        for x, y in data_gen.batch(BATCH, shuffle=False):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            if len(x):
                total += loss.detach() * len(x)
        state = strategy.full_state_dict(model, optimizer)
        with checkpoint.save(step=epoch + 1) as folder:
            torch.save(state, folder / "state.pt")
            (folder / "who.txt").write_text(str(rank))
        reporter.broadcast(float(strategy.sum(total)) / 21 + height(case), epoch)
        print("past epoch", epoch)
