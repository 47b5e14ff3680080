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

import catboost as cat
import lightgbm as lgb
import lightning.pytorch as pl
import numpy as np
import pytest
import skorch as sk
import torch
import transformers as hf
import xgboost as xgb
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import KFold
from sklearn.tree import ExtraTreeClassifier

from dotrain import callbacks as cb

STEPS = 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 6)).astype("float32")
Y = (X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * RNG.normal(size=240) > 0).astype("int64")
TRAIN, TEST = (X[:160], Y[:160]), (X[160:], Y[160:])

CASES: dict[str, Callable[..., Any]] = {}
#: What a framework calls the loss that a case reports; None is the config's metric.
NAMED = {
    "transformers": "eval_loss",
    "skorch": "valid_loss",
    "xgboost": "valid-logloss",
    "lightgbm": "binary_logloss",
    "catboost": "Logloss",
}


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

    return torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Dropout(0.3), torch.nn.ReLU(), torch.nn.Linear(8, 2)
    )


def loaders() -> tuple[Any, Any]:

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


class Lightning(pl.LightningModule):
    lr = 0.05

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
        optimizer = torch.optim.Adam(self.parameters(), self.lr)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.9)]


@case
def lightning(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    keep = cb.LightningCheckpoint(checkpoint)
    model = Lightning()
    trainer = pl.Trainer(
        max_epochs=int(budget),
        # In an order of the careless: it is saved before it is reported all the same.
        callbacks=[cb.LightningReport(reporter), keep],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, *loaders(), ckpt_path=keep.path)
    return weights(model)


class Transformer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, x: Any, labels: Any = None) -> Any:
        logits = self.net(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def hf_trainer(callbacks: list[Any], folder: Any, **options: Any) -> Any:
    rows = [[{"x": x, "labels": y} for x, y in zip(*part, strict=True)] for part in (TRAIN, TEST)]
    arguments = hf.TrainingArguments(
        **{
            "output_dir": str(folder),
            "per_device_train_batch_size": 32,
            "learning_rate": 0.05,
            "lr_scheduler_type": "constant",
            "eval_strategy": "epoch",
            "save_strategy": "no",
            "report_to": [],
            "disable_tqdm": True,
            "use_cpu": True,
            **options,
        }
    )
    return hf.Trainer(
        Transformer(),
        arguments,
        train_dataset=rows[0],
        eval_dataset=rows[1],
        callbacks=callbacks,
    )


@case
def transformers(reporter: Any, checkpoint: Any, budget: int, trial_dir: Any) -> bytes:
    keep = cb.TransformersCheckpoint(checkpoint)
    report = cb.TransformersReport(reporter, NAMED.get("transformers"))
    trainer = hf_trainer([keep, report], trial_dir / "out", num_train_epochs=budget)
    trainer.train(resume_from_checkpoint=keep.path)
    trainer.evaluate()
    return weights(trainer.model)


@case
def skorch(reporter: Any, checkpoint: Any, budget: int) -> bytes:

    model = sk.NeuralNetClassifier(
        net(),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.05,
        max_epochs=int(budget) - checkpoint.step,
        iterator_train__shuffle=True,
        callbacks=[
            sk.callbacks.LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.9),
            cb.SkorchCheckpoint(checkpoint),
            cb.SkorchReport(reporter, NAMED.get("skorch")),
        ],
        verbose=0,
    )
    model.fit(*TRAIN)
    return weights(model.module_)


@case
def xgboost(reporter: Any, checkpoint: Any, budget: int, **sampled: Any) -> bytes:

    keep = cb.XGBoostCheckpoint(checkpoint, every=1)
    train, valid = xgb.DMatrix(*TRAIN), xgb.DMatrix(*TEST)
    model = xgb.train(
        {"objective": "binary:logistic", **sampled},
        train,
        num_boost_round=int(budget) - checkpoint.step,
        evals=[(train, "train"), (valid, "valid")],
        xgb_model=keep.path,
        callbacks=[keep, cb.XGBoostReport(reporter, NAMED.get("xgboost"))],
        verbose_eval=False,
    )
    return bytes(model.predict(valid).tobytes())


@case
def xgboost_sampled(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    return xgboost(reporter, checkpoint, budget, subsample=0.5)


@case
def lightgbm(reporter: Any, checkpoint: Any, budget: int, **sampled: Any) -> bytes:

    keep = cb.LightGBMCheckpoint(checkpoint, every=1)
    train = lgb.Dataset(*TRAIN)
    model = lgb.train(
        {"objective": "binary", "verbose": -1, **sampled, **keep.seeds},
        train,
        num_boost_round=int(budget) - checkpoint.step,
        valid_sets=[lgb.Dataset(*TEST, reference=train)],
        valid_names=["valid"],
        init_model=keep.path,
        callbacks=[cb.LightGBMReport(reporter, NAMED.get("lightgbm")), keep],
    )
    return bytes(np.asarray(model.predict(TEST[0])).tobytes())


@case
def lightgbm_sampled(reporter: Any, checkpoint: Any, budget: int) -> bytes:
    return lightgbm(reporter, checkpoint, budget, bagging_fraction=0.5, bagging_freq=1)


@case
def catboost(reporter: Any, checkpoint: Any, budget: int) -> bytes:

    keep = cb.CatBoostCheckpoint(checkpoint)
    model = cat.CatBoostClassifier(
        iterations=int(budget), learning_rate=0.2, verbose=False, **keep.params
    )
    report = cb.CatBoostReport(reporter, NAMED.get("catboost"))
    model.fit(*TRAIN, eval_set=TEST, callbacks=[keep, report])
    keep.save()
    return bytes(model.predict_proba(TEST[0]).tobytes())


@case
def sgd(reporter: Any, checkpoint: Any, budget: int) -> bytes:

    steps = cb.SklearnSteps(SGDClassifier(alpha=0.01), budget, reporter, checkpoint)
    for _ in steps:
        steps.estimator.partial_fit(*TRAIN, classes=[0, 1])
        steps.report(1 - steps.estimator.score(*TEST))
    return bytes(steps.estimator.coef_.tobytes())


@case
def forest(reporter: Any, checkpoint: Any, budget: int) -> bytes:

    new = RandomForestClassifier(warm_start=True, random_state=np.random.RandomState(3))
    steps = cb.SklearnSteps(new, budget, reporter, checkpoint)
    for step in steps:
        steps.estimator.set_params(n_estimators=3 * (step + 1)).fit(*TRAIN)
        steps.report({"score": 1 - steps.estimator.score(*TEST), "trees": 3 * (step + 1)})
    return bytes(steps.estimator.predict_proba(TEST[0]).tobytes())


@case
def folds(reporter: Any, checkpoint: Any, budget: int) -> bytes:

    splits = KFold(STEPS, shuffle=True, random_state=0).split(X)
    folds = cb.SklearnFolds(list(splits)[: int(budget)], reporter, checkpoint)
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
            torch.manual_seed(1)
        reporter = Dying(reporter, dies_at, trial_dir / "died")
    more = {"trial_dir": trial_dir} if kind == "transformers" else {}
    found = CASES[kind](reporter, checkpoint, budget, **more)
    number = int.from_bytes(hashlib.sha256(found).digest()[:6], "big")
    return {"score": x, "digest": float(number)}


PECULIAR: dict[str, tuple[list[int], Callable[..., Any]]] = {}


def reports(*steps: int) -> Callable[..., Any]:
    """Register a case with the steps that it reports."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        PECULIAR[function.__name__] = list(steps), function
        return function

    return register


def fit_lightning(callbacks: list[Any], own: bool = False, **options: Any) -> Any:
    class Own(Lightning):
        def on_train_epoch_end(self) -> None:
            self.log("own", float(self.current_epoch))

    trainer = pl.Trainer(
        callbacks=callbacks, accelerator="cpu", logger=False, enable_progress_bar=False, **options
    )
    trainer.fit(Own() if own else Lightning(), *loaders())
    return trainer


@reports(1, 3)
def lightning_that_validates_every_second_epoch(reporter: Any, **_: Any) -> None:
    fit_lightning(
        [cb.LightningReport(reporter)],
        max_epochs=4,
        check_val_every_n_epoch=2,
        limit_train_batches=2,
        limit_val_batches=1,
        enable_checkpointing=False,
    )


@reports(0, 1)
def lightning_that_logs_late(reporter: Any, checkpoint: Any, **_: Any) -> None:
    keep, report = cb.LightningCheckpoint(checkpoint), cb.LightningReport(reporter, "own")
    trainer = fit_lightning([report, keep], own=True, max_epochs=2)
    with pytest.raises(ValueError, match="not configured to save the best model"):
        trainer.validate(dataloaders=loaders()[1])


@reports(4, 9, 11)
def transformers_by_steps(reporter: Any, checkpoint: Any, trial_dir: Any) -> None:
    report = cb.TransformersReport(reporter, "eval_loss")
    trainer = hf_trainer(
        [cb.TransformersCheckpoint(checkpoint), report],
        trial_dir / "out",
        max_steps=12,
        eval_strategy="steps",
        eval_steps=5,
        eval_on_start=True,
        save_strategy="epoch",
        load_best_model_at_end=False,
    )
    trainer.train()
    trainer.evaluate()
    assert checkpoint.step == 12  # the end is kept too
    assert (trial_dir / "out" / "checkpoint-12").exists()


@reports(0, 1)
def transformers_that_saves_more_often(reporter: Any, checkpoint: Any, trial_dir: Any) -> None:
    """What is saved within an epoch is the trainer's own."""
    steps = []

    class Look(hf.TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            steps.append((state.global_step, checkpoint.step))

    report = cb.TransformersReport(reporter, "eval_loss")
    trainer = hf_trainer(
        [cb.TransformersCheckpoint(checkpoint), report, Look()],
        trial_dir / "out",
        num_train_epochs=2,
        save_strategy="steps",
        save_steps=4,
    )
    trainer.train()
    assert steps == [(4, 0), (5, 1), (8, 1), (10, 1), (10, 2)] or steps == [
        (4, 0),
        (5, 1),
        (8, 1),
        (10, 2),
    ], steps


@reports(0, 1)
def transformers_without_checkpoints(reporter: Any, trial_dir: Any, **_: Any) -> None:
    report = cb.TransformersReport(reporter, "eval_loss")
    trainer = hf_trainer([report], trial_dir / "out", num_train_epochs=2)
    trainer.evaluate()
    trainer.train()


@reports(0, 2, 4)
def catboost_that_evaluates_every_second_round(reporter: Any, **_: Any) -> None:
    model = cat.CatBoostClassifier(iterations=5, metric_period=2, allow_writing_files=False)
    report = cb.CatBoostReport(reporter, "validation-Logloss")
    model.fit(*TRAIN, eval_set=TEST, callbacks=[report], verbose=False)


@reports(0, 1, 2)
def xgboost_cross_validated(reporter: Any, **_: Any) -> None:
    report = cb.XGBoostReport(reporter, "test-logloss")
    xgb.cv({"objective": "binary:logistic"}, xgb.DMatrix(*TRAIN), 3, nfold=3, callbacks=[report])


@reports(0, 1)
def xgboost_by_its_estimator(reporter: Any, checkpoint: Any, **_: Any) -> None:
    callbacks = [cb.XGBoostCheckpoint(checkpoint), cb.XGBoostReport(reporter, "logloss")]
    model = xgb.XGBClassifier(n_estimators=2, callbacks=callbacks)
    model.fit(*TRAIN, eval_set=[TEST], verbose=False)
    assert checkpoint.step == 2


@reports(0, 1, 2)
def lightgbm_cross_validated(reporter: Any, **_: Any) -> None:
    report = cb.LightGBMReport(reporter, "valid-binary_logloss")
    params = {"objective": "binary", "verbose": -1}
    lgb.cv(params, lgb.Dataset(*TRAIN), 3, nfold=3, callbacks=[report])


@reports(0, 1)
def lightgbm_by_its_estimator(reporter: Any, checkpoint: Any, **_: Any) -> None:
    report = cb.LightGBMReport(reporter, "binary_logloss")
    model = lgb.LGBMClassifier(n_estimators=2, verbose=-1)
    model.fit(*TRAIN, eval_set=[TEST], callbacks=[cb.LightGBMCheckpoint(checkpoint), report])
    assert checkpoint.step == 2


@reports(0)
def a_fold_without_a_score_of_the_metric(reporter: Any, checkpoint: Any, **_: Any) -> None:
    folds = cb.SklearnFolds(KFold(3).split(X), reporter, checkpoint)
    for _train, _test in folds:
        folds.report({"score": 0.5, "time_s": 1.0, "text": "none"})
        break


def train_peculiar(reporter: Any, checkpoint: Any, trial_dir: Any, kind: str) -> float:
    torch.manual_seed(1)
    PECULIAR[kind][1](reporter=reporter, checkpoint=checkpoint, trial_dir=trial_dir)
    return 0.0


def train_without_metric(reporter: Any, checkpoint: Any, trial_dir: Any, kind: str) -> float:
    """Report by the callbacks' own choice, which is the config's metric."""
    more = {"trial_dir": trial_dir} if kind == "transformers" else {}
    NAMED.clear()
    CASES[kind](reporter, checkpoint, 2, **more)
    return 0.0


def train_rate(
    reporter: Any, checkpoint: Any, trial_dir: Any, kind: str, lr: float, budget: int = 3
) -> dict[str, float]:
    """Tell the learning rate that the last step was made with, before its schedule."""
    torch.manual_seed(1)
    if kind == "lightning":
        model = Lightning()
        model.lr = lr
        keep = cb.LightningCheckpoint(checkpoint)
        trainer = pl.Trainer(
            max_epochs=int(budget), callbacks=[keep], accelerator="cpu", logger=False
        )
        trainer.fit(model, *loaders(), ckpt_path=keep.path)
        used = trainer.optimizers[0].param_groups[0]["lr"] / 0.9**budget
    elif kind == "transformers":
        keep = cb.TransformersCheckpoint(checkpoint)
        options = {"num_train_epochs": int(budget), "learning_rate": lr}
        trainer = hf_trainer([keep], trial_dir / "out", **options)
        trainer.train(resume_from_checkpoint=keep.path)
        used = trainer.optimizer.param_groups[0]["lr"]
    else:
        net_ = sk.NeuralNetClassifier(
            net(),
            criterion=torch.nn.CrossEntropyLoss,
            lr=lr,
            max_epochs=int(budget) - checkpoint.step,
            callbacks=[cb.SkorchCheckpoint(checkpoint)],
            verbose=0,
        )
        net_.fit(*TRAIN)
        used = net_.optimizer_.param_groups[0]["lr"]
    reporter.broadcast({"score": lr, "used": used}, int(budget) - 1)
    return {"score": lr, "used": used}
