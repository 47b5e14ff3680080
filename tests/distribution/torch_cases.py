"""A train function that trains many small models in one process: the cases of exactness."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from dotrain.frameworks.rows import ArrayRows
from dotrain.training.errors import BadSetup

BATCH = 8
EPOCHS = 4


def rows(count: int, *shape: int) -> tuple[Any, Any]:
    made = torch.Generator().manual_seed(0)
    x = torch.randn(count, *shape, generator=made)
    return x, torch.randint(0, 3, (count,), generator=made)


class Named(Dataset):
    """Rows with names, as tokenizers give them."""

    def __init__(self, count: int) -> None:
        self.x, self.y = rows(count, 12)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": self.x[index], "y": self.y[index], "name": f"row {index}"}


class Conv(nn.Module):
    """A net that can't be called with no rows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            1, 4, 3, bias=False
        )  # what the norm takes away has no slope, but for rounding
        self.norm = nn.BatchNorm2d(4)
        self.deep = nn.BatchNorm1d(36, momentum=None, affine=False)
        self.out = nn.Linear(36, 3)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.out(self.deep(x.view(x.size(0), -1)))


class Steep(nn.Module):
    """A net whose slope at a row of zeros is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(12, 8, bias=False), nn.Linear(8, 3)

    def forward(self, x: Any) -> dict[str, Any]:
        return {"logits": self.two(self.one(x).abs().sqrt())}


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.memory = nn.Embedding(16, 4), nn.LSTM(4, 6, batch_first=True)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.memory(self.words((x.abs() * 3).long().clamp(max=15)))[0][:, -1])


def read_by_batches(count: int) -> Any:
    read = ArrayRows(rows(count, 12))
    read.rows_at_once = 20
    return read


def dense() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))


def sgd(model: Any) -> Any:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def slow(model: Any) -> Any:
    return torch.optim.SGD(model.parameters(), lr=0.001)


def mild(model: Any) -> Any:
    return torch.optim.SGD(model.parameters(), lr=0.02)


def adam(model: Any) -> Any:
    return torch.optim.Adam(model.parameters(), lr=0.01)


class Case(NamedTuple):
    #: 37 rows end with a batch of 5; 33 with one of 1, of which all ranks but one get none.
    build: Callable[[], Any]
    optimizer: Callable[[Any], Any]
    count: int
    shape: tuple[int, ...] = (12,)
    data: Callable[[int], Any] | None = None
    #: Steps whose gradients are added up, and whether only the last one's are sent.
    accumulated: int = 1
    no_sync: bool = False
    clipped: float | None = None
    decay: float = 0.0
    half: bool = False
    #: In double precision: of two rows, batch normalization makes rounding errors large.
    double: bool = False


CASES = {
    "dense": Case(dense, sgd, 37),
    "clipped": Case(dense, adam, 37, clipped=0.1),
    "accumulated": Case(dense, sgd, 37, accumulated=2, clipped=0.5),
    "accumulated without sync": Case(dense, sgd, 37, accumulated=3, no_sync=True),
    "batch normalization and convolution": Case(Conv, sgd, 34, (1, 8, 8), double=True),
    "batch normalization, 5 rows": Case(Conv, mild, 37, (1, 8, 8)),
    "infinite slope at zero": Case(Steep, slow, 33),
    "decayed by the loss": Case(Steep, slow, 33, decay=0.1),
    "words": Case(Words, adam, 33, (5,)),
    "data set of dicts": Case(dense, sgd, 33, data=Named),
    "read by batches": Case(dense, sgd, 37, data=read_by_batches),
    "loader": Case(dense, sgd, 33, data=lambda n: DataLoader(Named(n), BATCH, shuffle=True)),
    "own sampler": Case(
        dense,
        sgd,
        37,
        data=lambda n: DataLoader(
            Named(n), BATCH, sampler=WeightedRandomSampler(torch.arange(n) + 1.0, n)
        ),
    ),
    "half": Case(dense, slow, 37, half=True),
}


#: Each case is trained by 2 ranks, and by 3 or 4: of more than 2, every other case.
SHARDED = ("dense", "clipped", "accumulated", "batch normalization, 5 rows", "words", "loader")


def chosen(ranks: int, sharded: bool) -> list[str]:
    """Return the names of the cases that so many ranks train."""
    if sharded:
        return list(SHARDED)
    return [
        name for n, name in enumerate(CASES) if ranks < 3 or name == "dense" or n % 2 == ranks % 2
    ]


def pair(batch: Any) -> tuple[Any, Any]:
    return (batch["x"], batch["y"]) if isinstance(batch, dict) else tuple(batch)


def logits_of(output: Any) -> Any:
    return output["logits"] if isinstance(output, dict) else output


def fit(case: Case, strategy: Any, seed: int) -> tuple[Any, list[float]]:
    torch.manual_seed(seed)
    with strategy:
        built = case.build()
        model = strategy.wrap(built.double() if case.double else built)
    optimizer = case.optimizer(model)
    data = case.data(case.count) if case.data else rows(case.count, *case.shape)
    batches = strategy.batches(data, BATCH, seed=1)
    losses, step = [], 0
    for _ in range(EPOCHS):
        for batch in batches:
            x, y = pair(batch)
            x = x.double() if case.double else x
            step += 1
            sends = not (case.no_sync and step % case.accumulated)
            quiet = (
                contextlib.nullcontext()
                if sends
                else getattr(model, "no_sync", contextlib.nullcontext)()
            )
            with quiet:
                with torch.autocast("cpu", enabled=case.half):
                    loss = F.cross_entropy(logits_of(model(x)), y)
                if case.decay:
                    loss = loss + case.decay * sum(p.square().sum() for p in model.parameters())
                (loss / case.accumulated).backward()
            losses.append(float(strategy.mean(loss)))
            if step % case.accumulated:
                continue
            if case.clipped:
                nn.utils.clip_grad_norm_(model.parameters(), case.clipped)
            optimizer.step()
            optimizer.zero_grad()
    return model, losses


def predict(case: Case, model: Any, strategy: Any) -> list[float]:
    data = case.data(case.count) if case.data else rows(case.count, *case.shape)
    if isinstance(data, DataLoader):
        data = data.dataset
    model.eval()
    found, right, total, summed = [], 0, 0, 0.0
    with torch.no_grad():
        for batch in strategy.batches(data, BATCH):
            x, y = pair(batch)
            x = x.double() if case.double else x
            logits = logits_of(model(x))
            found.append(strategy.gather(logits[:, 0]))
            right += int((logits.argmax(1) == y).sum())
            summed += F.cross_entropy(logits, y, reduction="sum")
            total += len(y)
    assert strategy.sum(total) == case.count
    return [*torch.cat(found).tolist(), strategy.sum(right), float(strategy.sum(summed))]


def dropped(strategy: Any, model: Any) -> list[list[bool]]:
    """Return for each row of a batch which of 64 units were dropped."""
    (batch,) = strategy.batches((torch.ones(4, 1), torch.ones(4)), 4)
    return (strategy.gather(model(batch[0])) == 0).tolist()  # type: ignore[no-any-return]


def mean_of_a_step(strategy: Any) -> float:
    """Return the mean loss of a step, asked for behind a validation, whose batches ranks share otherwise."""
    with strategy:
        torch.manual_seed(0)
        model = strategy.wrap(nn.Linear(12, 3))
    for x, y in strategy.batches(rows(11, 12), 8):  # the last one has 3 rows
        loss = F.cross_entropy(model(x), y)
        loss.backward()
    before = strategy.mean(loss)
    with torch.no_grad():
        for x, _ in strategy.batches(rows(12, 12), 6):
            model(x)
    assert abs(float(strategy.mean(loss) - before)) < 1e-6
    if strategy.num_replicas_in_sync == 2:  # of whom each has other shares of both
        said = ""
        try:
            strategy.mean(loss.item())
        except BadSetup as error:
            said = str(error)
        assert "of which one is this a mean" in said
    return float(before)


def sums(strategy: Any) -> list[float]:
    """Train by a mean with weights of classes, which is none over rows; return losses and weights."""
    x, y = rows(13, 12)
    weights = torch.tensor([1.0, 5.0, 0.5])
    with strategy:
        torch.manual_seed(0)
        model = strategy.wrap(nn.Linear(12, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    found = []
    for _ in range(4):
        for inputs, labels in strategy.batches((x, y), 6):
            optimizer.zero_grad()
            total = strategy.sum(weights[labels].sum())
            loss = F.cross_entropy(model(inputs), labels, weights, reduction="sum") / total
            loss.backward()
            optimizer.step()
            found.append(float(strategy.sum(loss)))
    return [*found, *(float(p.abs().sum()) for p in model.parameters())]


def train_sums(dist_strategy: Any, trial_dir: Path) -> float:
    """Train what is summed, not averaged; it goes to ``sums.json``."""
    torch.set_num_threads(1)
    (trial_dir / "sums.json").write_text(json.dumps(sums(dist_strategy())))
    return 1.0


def train(dist_strategy: Any, trial_dir: Path, seed: int, sharded: bool = False) -> float:
    """Train every case; losses, weights, predictions go to ``cases.json``."""
    torch.set_num_threads(1)
    found = {}
    strategy = dist_strategy()
    ranks = strategy.num_replicas_in_sync
    for name in chosen(ranks, sharded):
        case = CASES[name]
        model, losses = fit(case, strategy, seed)
        assert len(losses) == 20
        found[name] = {
            "losses": losses,
            "weights": {
                k: v.tolist() for k, v in strategy.full_state_dict(model).get("model", {}).items()
            },
            "predictions": predict(case, model, strategy),
        }
        if name == "dense":
            torch.save(strategy.full_state_dict(model, None), trial_dir / "model.pt")
    if not sharded:
        found["mean of a step"] = {"loss": [mean_of_a_step(strategy)]}
    if ranks == 1:
        (trial_dir / "sums.json").write_text(json.dumps(sums(strategy)))
    with strategy:
        model = strategy.wrap(nn.Sequential(nn.Linear(1, 64), nn.Dropout()))
    (trial_dir / "dropped.json").write_text(json.dumps(dropped(strategy, model)))
    (trial_dir / "cases.json").write_text(json.dumps(found))
    return 1.0
