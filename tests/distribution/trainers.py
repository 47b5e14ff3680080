"""One training by each trainer that takes the process group it finds, for `torchrun` and for a train function."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from transformers import Trainer, TrainingArguments

ROWS, BATCH = 32, 4


def rows() -> Any:
    made = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, 6, generator=made)
    return x, torch.randint(0, 3, (ROWS,), generator=made)


def net() -> Any:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def by_accelerate(folder: Path) -> list[float]:
    accelerator = Accelerator(cpu=True)
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(*rows()), BATCH)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    losses = []
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(accelerator.gather(loss.detach().reshape(1)).mean()))
    assert accelerator.num_processes == 2
    return losses


def by_lightning(folder: Path) -> list[float]:
    losses = []

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            loss = F.cross_entropy(self.net(x), y)
            losses.append(float(self.all_gather(loss.detach()).mean()))
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(Net(), DataLoader(TensorDataset(*rows()), BATCH))
    assert trainer.world_size == 2
    return losses


def by_hugging_face(folder: Path) -> list[float]:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Any, labels: Any) -> Any:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return ROWS

        def __getitem__(self, index: int) -> Any:
            x, y = rows()
            return {"x": x[index], "labels": y[index]}

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    trainer = Trainer(Net(), arguments, train_dataset=Rows())
    trainer.train()
    assert arguments.world_size == 2
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


TRAINERS = {
    "accelerate": by_accelerate,
    "lightning": by_lightning,
    "hugging face": by_hugging_face,
}


def run(folder: Path) -> dict[str, list[float]]:
    torch.set_num_threads(1)
    return {name: trainer(folder) for name, trainer in TRAINERS.items()}


def train(dist_strategy: Any, trial_dir: Path) -> float:
    """Train by all; losses go to ``losses.json``."""
    dist_strategy()
    (trial_dir / "losses.json").write_text(json.dumps(run(trial_dir)))
    return 1.0


if __name__ == "__main__":
    found = run(Path(sys.argv[1]))
    if torch.distributed.get_rank() == 0:
        Path(sys.argv[1], "losses.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()
