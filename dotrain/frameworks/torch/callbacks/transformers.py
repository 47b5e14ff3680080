"""Callbacks of Hugging Face's Trainer that report to the search and keep checkpoints."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from dotrain.frameworks.torch.callbacks.rates import put_back
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadSetup
from dotrain.training.logs import report_logs
from dotrain.training.reporter import Reporter


def _by_steps(args: Any) -> bool:
    """Whether a trainer evaluates by its optimizer's steps, rather than by epochs."""
    return str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "steps"


def _steps_done(args: Any, state: Any) -> int:
    """Return how many steps are done, as reports and checkpoints count them."""
    if _by_steps(args):
        return int(state.global_step)
    epoch: float = state.epoch
    return math.ceil(epoch - 1e-6)


class TransformersReport(TrainerCallback):  # type: ignore[misc]
    """Report what each evaluation during training finds.

    With ``eval_strategy="epoch"`` the step is the epoch, from 0; with ``"steps"`` it is the
    optimizer's, from 0, and a budget counts these. Evaluations before and after training, of one's
    own or by ``eval_on_start``, are no reports.

    Args:
        reporter: The train function's ``reporter``.
        metric: The key of the trainer's metrics to report as the search's metric; by default the
            key of that name, or with ``eval_`` before it.
    """

    def __init__(self, reporter: Reporter, metric: str | None = None) -> None:
        self._reporter = reporter
        self._metric = metric
        self._trains = False
        self._waiting: tuple[dict[str, Any], int] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Look whether there will be anything to report.

        Raises:
            BadSetup: If the trainer never evaluates.
        """
        if str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "no":
            raise BadSetup(
                "TransformersReport reports what evaluations find, and this trainer has none: "
                "TrainingArguments(eval_strategy='epoch', ...)"
            )
        self._trains = True

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: Mapping[str, Any], **others: Any
    ) -> None:
        """Report, or wait until what was evaluated is saved."""
        done = _steps_done(args, state)
        if self._trains and done:
            self._waiting = dict(metrics), done - 1
            if not control.should_save:
                self._report()

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Report what has waited for this."""
        self._report()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Report what has waited, where nothing was saved after all."""
        self._report()

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Report no evaluation that comes later."""
        self._trains = False
        self._report()

    def _report(self) -> None:
        if self._waiting is None:
            return
        (logs, step), self._waiting = self._waiting, None
        metric = self._metric or self._reporter.metric
        if self._metric is None and metric not in logs and f"eval_{metric}" in logs:
            metric = f"eval_{metric}"
        report_logs(self._reporter, logs, metric, step, "the Trainer's metrics")


class TransformersCheckpoint(TrainerCallback):  # type: ignore[misc]
    """Keep the trainer's own checkpoint at the end of every epoch.

    Weights, optimizer, schedule, generators, the trainer's state. With ``eval_strategy="steps"`` it
    is kept at every evaluation. Tell ``train`` where to go on:
    ``trainer.train(resume_from_checkpoint=keep.path)``. In the list of callbacks it stands before
    the one that reports: a trial that is stopped has then saved its last epoch.

    Args:
        checkpoint: The train function's ``checkpoint``.
    """

    FOLDER = "transformers"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._begins_at = checkpoint.step
        #: Whether what is saved next is the end of a step; else it is the trainer's own.
        self._is_due = False

    @property
    def path(self) -> str | None:
        """The newest checkpoint, for ``resume_from_checkpoint=``; None if there is none."""
        latest = self._checkpoint.latest
        return None if latest is None else str(latest / self.FOLDER)

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Look whether training goes on where the checkpoint ends, with a learning rate of its own.

        Raises:
            BadSetup: If it doesn't.
        """
        begins_at, self._begins_at = self._begins_at, 0
        if begins_at and not state.global_step:
            raise BadSetup(
                f"there is a checkpoint of step {begins_at}, but training begins anew: tell it "
                "where to go on by trainer.train(resume_from_checkpoint=keep.path), with keep = "
                "TransformersCheckpoint(checkpoint)"
            )
        if begins_at and not self._checkpoint.restore_random_state():  # another trial's
            # Both may be wrapped by `accelerate`.
            optimizer = getattr(others["optimizer"], "optimizer", others["optimizer"])
            schedule = getattr(others["lr_scheduler"], "scheduler", others["lr_scheduler"])
            own = {"lr": args.learning_rate}
            put_back(optimizer, [own for _ in optimizer.param_groups], [schedule])

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Have it saved where it is evaluated, and at the end."""
        if _by_steps(args) and (control.should_evaluate or state.global_step >= state.max_steps):
            control.should_save = self._is_due = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Have it saved."""
        if not _by_steps(args):
            control.should_save = self._is_due = True

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Take what the trainer has saved."""
        if not self._is_due:
            return
        self._is_due = False
        saved = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        with self._checkpoint.save(step=_steps_done(args, state)) as directory:
            if not state.is_world_process_zero:
                return
            if str(getattr(args.save_strategy, "value", args.save_strategy)) == "no":
                shutil.move(saved, directory / self.FOLDER)
            else:  # the trainer's own, which it may load or remove later
                shutil.copytree(saved, directory / self.FOLDER, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
