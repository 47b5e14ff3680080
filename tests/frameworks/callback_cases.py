"""A train function with a case for each framework that has callbacks; run by `test_callbacks`.

A case trains ``budget`` steps, reports each, and returns the numbers of what it has come to.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
from collections.abc import Callable
from typing import Any

import numpy as np

STEPS = 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 6)).astype("float32")
Y = (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * RNG.normal(size=240) > 0).astype("int64")
TRAIN, TEST = (X[:160], Y[:160]), (X[160:], Y[160:])

CASES: dict[str, Callable[..., Any]] = {}


def case(function: Callable[..., Any]) -> Callable[..., Any]:
    CASES[function.__name__] = function
    return function


class Dying:
    """A reporter in whose process a step is the last one, once."""

    def __init__(self, reporter: Any, last: int, died: Any) -> None:
        self._reporter = reporter
        self._died = died
        self._last = last
        self.raise_later = reporter.raise_later
        self.metric = reporter.metric

    def broadcast(self, metric: Any, step: int | None = None) -> None:
        done = self._reporter.next_step if step is None else step
        self._reporter.broadcast(metric, step)
        if done + 1 == self._last and not self._died.exists():
            self._died.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def net() -> Any:
    import torch

    return torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Dropout(0.3), torch.nn.ReLU(), torch.nn.Linear(8, 2)
    )


def loaders() -> tuple[Any, Any]:
    import torch

    sets = [torch.utils.data.TensorDataset(*map(torch.tensor, part)) for part in (TRAIN, TEST)]
    # Without a generator of its own: the order is drawn from PyTorch's.
    return torch.utils.data.DataLoader(sets[0], 32, shuffle=True), torch.utils.data.DataLoader(
        sets[1], 80
    )


def weights(model: Any) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in model.state_dict().values())


@case
def loop(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    """A plain loop of PyTorch's; its loss is reported as it is, with its gradient."""
    import torch

    model = net()
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    if checkpoint.latest:
        state = torch.load(checkpoint.latest / "state.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        checkpoint.restore_random_state()
    for epoch in range(checkpoint.step, budget):
        for x, y in loaders()[0]:
            loss = torch.nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with checkpoint.save(step=epoch + 1) as folder:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, folder / "state.pt")
        reporter.broadcast(loss, epoch)
    return weights(model)


@case
def lightning(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    import lightning.pytorch as pl
    import torch

    from dotrain.callbacks import LightningCheckpoint, LightningReport

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, batch: Any, index: int) -> Any:
            loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            loss = torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("score", loss)

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.Adam(self.parameters(), 0.05)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]

    keep = LightningCheckpoint(checkpoint)
    model = Model()
    trainer = pl.Trainer(
        max_epochs=budget,
        # In an order of the careless: it is saved before it is reported all the same.
        callbacks=[LightningReport(reporter), keep],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, *loaders(), ckpt_path=keep.path)
    return weights(model)


@case
def transformers(reporter: Any, checkpoint: Any, budget: int, trial_dir: Any) -> bytes:
    import torch
    from transformers import Trainer, TrainingArguments

    from dotrain.callbacks import TransformersCheckpoint, TransformersReport

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Any, labels: Any = None) -> Any:
            logits = self.net(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    rows = [[{"x": x, "labels": y} for x, y in zip(*part, strict=True)] for part in (TRAIN, TEST)]
    keep = TransformersCheckpoint(checkpoint)
    arguments = TrainingArguments(
        output_dir=str(trial_dir / "out"),
        num_train_epochs=budget,
        per_device_train_batch_size=32,
        learning_rate=0.05,
        lr_scheduler_type="constant",
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(
        Model(),
        arguments,
        train_dataset=rows[0],
        eval_dataset=rows[1],
        callbacks=[keep, TransformersReport(reporter, "eval_loss")],
    )
    trainer.train(resume_from_checkpoint=keep.path)
    trainer.evaluate()
    return weights(trainer.model)


@case
def skorch(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import LRScheduler

    from dotrain.callbacks import SkorchCheckpoint, SkorchReport

    model = NeuralNetClassifier(
        net(),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        max_epochs=int(budget) - checkpoint.step,
        iterator_train__shuffle=True,
        callbacks=[
            LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.9),
            SkorchCheckpoint(checkpoint),
            SkorchReport(reporter, "valid_loss"),
        ],
        verbose=0,
    )
    model.fit(*TRAIN)
    return weights(model.module_)


@case
def xgboost(reporter: Any, checkpoint: Any, budget: int, **sampled: Any) -> bytes:
    import xgboost as xgb

    from dotrain.callbacks import XGBoostCheckpoint, XGBoostReport

    keep = XGBoostCheckpoint(checkpoint, every=1)
    train, valid = xgb.DMatrix(*TRAIN), xgb.DMatrix(*TEST)
    model = xgb.train(
        {"objective": "binary:logistic", **sampled},
        train,
        num_boost_round=int(budget) - checkpoint.step,
        evals=[(train, "train"), (valid, "valid")],
        xgb_model=keep.path,
        callbacks=[keep, XGBoostReport(reporter, "logloss")],
        verbose_eval=False,
    )
    return bytes(model.predict(valid).tobytes())


@case
def xgboost_sampled(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    return xgboost(reporter, checkpoint, budget, subsample=0.5)


@case
def lightgbm(reporter: Any, checkpoint: Any, budget: int, **sampled: Any) -> bytes:
    import lightgbm as lgb

    from dotrain.callbacks import LightGBMCheckpoint, LightGBMReport

    keep = LightGBMCheckpoint(checkpoint, every=1)
    train = lgb.Dataset(*TRAIN)
    model = lgb.train(
        {"objective": "binary", "verbose": -1, **sampled, **keep.seeds},
        train,
        num_boost_round=int(budget) - checkpoint.step,
        valid_sets=[lgb.Dataset(*TEST, reference=train)],
        valid_names=["valid"],
        init_model=keep.path,
        callbacks=[LightGBMReport(reporter, "binary_logloss"), keep],
    )
    return bytes(np.asarray(model.predict(TEST[0])).tobytes())


@case
def lightgbm_sampled(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    return lightgbm(reporter, checkpoint, budget, bagging_fraction=0.5, bagging_freq=1)


@case
def catboost(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    from catboost import CatBoostClassifier

    from dotrain.callbacks import CatBoostCheckpoint, CatBoostReport

    keep = CatBoostCheckpoint(checkpoint)
    model = CatBoostClassifier(
        iterations=int(budget), learning_rate=0.2, verbose=False, **keep.params
    )
    model.fit(*TRAIN, eval_set=TEST, callbacks=[keep, CatBoostReport(reporter, "Logloss")])
    return bytes(model.predict_proba(TEST[0]).tobytes())


@case
def sgd(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    from sklearn.linear_model import SGDClassifier

    from dotrain.callbacks import SklearnSteps

    steps = SklearnSteps(SGDClassifier(alpha=0.01), budget, reporter, checkpoint)
    for _ in steps:
        steps.estimator.partial_fit(*TRAIN, classes=[0, 1])
        steps.report(1 - steps.estimator.score(*TEST))
    return bytes(steps.estimator.coef_.tobytes())


@case
def forest(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    from sklearn.ensemble import RandomForestClassifier

    from dotrain.callbacks import SklearnSteps

    new = RandomForestClassifier(warm_start=True, random_state=np.random.RandomState(3))
    steps = SklearnSteps(new, budget, reporter, checkpoint)
    for step in steps:
        steps.estimator.set_params(n_estimators=3 * (step + 1)).fit(*TRAIN)
        steps.report({"score": 1 - steps.estimator.score(*TEST), "trees": 3 * (step + 1)})
    return bytes(steps.estimator.predict_proba(TEST[0]).tobytes())


@case
def folds(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    from sklearn.model_selection import KFold
    from sklearn.tree import ExtraTreeClassifier

    from dotrain.callbacks import SklearnFolds

    splits = KFold(STEPS, shuffle=True, random_state=0).split(X)
    folds = SklearnFolds(list(splits)[: int(budget)], reporter, checkpoint)
    for train, test in folds:
        model = ExtraTreeClassifier().fit(X[train], Y[train])
        folds.report(1 - model.score(X[test], Y[test]))
    return bytes(np.array(folds.scores).tobytes())


def train(
    reporter: Any,
    checkpoint: Any,
    trial_dir: Any,
    kind: str,
    budget: int = STEPS,
    dies_at: int = 0,
    x: float = 0.0,
) -> dict[str, float]:
    """Train one case; what it comes to is told as a number, by its digest."""
    if not checkpoint.step:
        # All trials begin alike; an attempt that goes on has other numbers if it doesn't restore.
        random.seed(1)
        np.random.seed(1)
        if kind in ("loop", "lightning", "transformers", "skorch"):
            import torch

            torch.manual_seed(1)
        reporter = Dying(reporter, dies_at, trial_dir / "died")
    more = {"trial_dir": trial_dir} if kind == "transformers" else {}
    found = CASES[kind](reporter, checkpoint, budget, **more)
    number = int.from_bytes(hashlib.sha256(found).digest()[:6], "big")
    return {"score": x, "digest": float(number)}
