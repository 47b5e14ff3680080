"""What `distribution_torch.py` trains: through dotrain, and by ranks that `torchrun` has started.

    torchrun --standalone --nproc-per-node 2 benchmarks/functions_torch.py OUT [FOLDER]

There it is plain PyTorch, with its own `DistributedDataParallel`, and the same sampler as dotrain's. Rank 0 writes what it
has measured to OUT, as JSON. With a folder, epochs are trained by turns with another training that has been given the same
one. All times are of the monotonic clock.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from turns import Turns

from dotrain.frameworks.torch.data import Dealt, batches_of, dealt
from dotrain.training.reporter import Reporter

#: Rows of a batch, over all ranks.
BATCH = 256
EPOCH_STEPS = 50
#: Epochs that are measured, after one that isn't.
EPOCHS = 10


def cnn() -> Any:
    """Return much to compute for few weights."""
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(512, 16), nn.ReLU(), nn.Linear(16, 10))


def mlp() -> Any:
    """Return little to compute for many weights."""
    layers = [nn.Flatten(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


MODELS: Mapping[str, Callable[[], Any]] = {"mlp": mlp, "cnn": cnn}


def rows() -> Any:
    """Return the rows of an epoch."""
    made = torch.Generator().manual_seed(0)
    count = BATCH * EPOCH_STEPS
    return torch.rand(count, 1, 16, 16, generator=made), torch.randint(
        0, 10, (count,), generator=made
    )


def step(model: Any, optimizer: Any, x: Any, y: Any) -> None:
    """Make one step."""
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def train_by_turns(wrap: Callable[[Any], Any], batches: Any, turns: Turns) -> None:
    """Train every model, epochs by turns with another training."""
    for kind, build in MODELS.items():
        model = wrap(build())
        optimizer = torch.optim.Adam(model.parameters())
        rates = []
        for _ in range(1 + EPOCHS):
            turns.wait()
            # The others have waited for rank 0.
            torch.distributed.barrier()
            began_s = time.perf_counter()
            for x, y in batches:
                step(model, optimizer, x, y)
            rates.append(EPOCH_STEPS / (time.perf_counter() - began_s))
            turns.give()
        turns.keep(kind, rates[1:])


def by_turns(dist_strategy: Any, folder: str) -> float:
    """Train through dotrain."""
    with dist_strategy() as strategy:
        turns = Turns(Path(folder), "dotrain", "hand", strategy.rank == 0)
        train_by_turns(strategy.wrap, strategy.batches(rows(), BATCH, seed=0), turns)
    return 0.0


def start_up(dist_strategy: Any, reporter: Reporter, x: float) -> float:
    """Make one step, and report when it has ended."""
    with dist_strategy() as strategy:
        model = strategy.wrap(mlp())
    optimizer = torch.optim.Adam(model.parameters())
    images, labels = next(iter(strategy.batches(rows(), BATCH)))
    step(model, optimizer, images, labels)
    reporter.broadcast(time.monotonic())
    return x


def main() -> None:
    """Train without dotrain."""
    out, *folder = sys.argv[1:]
    torch.distributed.init_process_group("gloo")
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    batches = dealt(batches_of(rows(), BATCH, 0, 0), Dealt(rank, ranks))
    if folder:
        turns = Turns(Path(folder[0]), "hand", "dotrain", rank == 0)
        train_by_turns(DistributedDataParallel, batches, turns)
    else:
        model = DistributedDataParallel(mlp())
        optimizer = torch.optim.Adam(model.parameters())
        step(model, optimizer, *next(iter(batches)))
    if rank == 0:
        Path(out).write_text(json.dumps({"first_step": time.monotonic()}))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
