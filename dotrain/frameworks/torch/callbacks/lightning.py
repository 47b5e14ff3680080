"""Lightning callbacks that report to the search and keep checkpoints."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dotrain.frameworks.torch.callbacks.rates import Options, options_of, put_back
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.errors import BadSetup
from dotrain.training.logs import report_logs
from dotrain.training.reporter import Reporter

# Two packages have these classes, each with its own; a trainer knows those of its package.
if not TYPE_CHECKING and "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
    from pytorch_lightning import callbacks
else:
    from lightning.pytorch import callbacks

_NOT_LOGGED = (
    "; log it by self.log() in training_step with on_epoch=True, in validation_step or in "
    "on_validation_epoch_end (what on_train_epoch_end logs is there for a trainer that has a "
    "LightningCheckpoint too)"
)


class LightningReport(callbacks.Callback):  # type: ignore[misc]
    """Report what was logged at the end of every epoch; the step is the epoch, from 0.

    An epoch without a new value of the metric, as with ``check_val_every_n_epoch=2``, isn't
    reported; nor is the sanity check before training.

    Args:
        reporter: The train function's ``reporter``.
        metric: The key that was logged as the search's metric; by default the key of that name.
    """

    def __init__(self, reporter: Reporter, metric: str | None = None) -> None:
        super().__init__()
        self._reporter = reporter
        self._metric = metric or reporter.metric
        self._last: Any = None

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Report, if nobody saves the epoch first."""
        if not any(isinstance(one, LightningCheckpoint) for one in trainer.callbacks):
            self.report(trainer)

    def report(self, trainer: Any) -> None:
        """Report the epoch that ends.

        Raises:
            BadReport: If no epoch has logged the metric.
            EarlyStop: If the trial is to stop.
        """
        logs = trainer.callback_metrics
        value = logs.get(self._metric)
        # Lightning keeps what was logged last: of an epoch that has logged nothing, the same object.
        if value is not None and value is self._last:
            return
        if value is None and trainer.current_epoch + 1 < (trainer.check_val_every_n_epoch or 1):
            return
        self._last = value
        report_logs(
            *(self._reporter, logs, self._metric, trainer.current_epoch),
            *("Lightning's callback_metrics", _NOT_LOGGED),
        )


class LightningCheckpoint(callbacks.Checkpoint):  # type: ignore[misc]
    """Keep a checkpoint of the trainer at the end of every epoch, before that is reported.

    It takes the place of Lightning's own ``ModelCheckpoint``, which a trainer has by itself. Tell
    ``fit`` where to go on: ``trainer.fit(model, ckpt_path=keep.path)``, with ``max_epochs=budget``.

    Args:
        checkpoint: The train function's ``checkpoint``.
    """

    FILE = "lightning.ckpt"
    #: None is known: ``trainer.test(ckpt_path="best")`` says so, if no ``ModelCheckpoint`` stands before this one.
    best_model_path = ""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._checkpoint = checkpoint
        self._begins_at = checkpoint.step
        #: Of each optimizer, where the checkpoint is another trial's.
        self._own: list[Options] = []

    @property
    def path(self) -> str | None:
        """The newest checkpoint, for ``trainer.fit(ckpt_path=...)``; None if there is none."""
        latest = self._checkpoint.latest
        return None if latest is None else str(latest / self.FILE)

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Restore the generators, before an epoch's order is drawn; not those of another trial."""
        if self._begins_at and not self._checkpoint.restore_random_state():
            self._own = [options_of(optimizer) for optimizer in trainer.optimizers]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Look whether training goes on where the checkpoint ends, with hyperparameters of its own.

        Raises:
            BadSetup: If it doesn't.
        """
        own, self._own = self._own, []
        for optimizer, options in zip(trainer.optimizers, own, strict=False):
            put_back(optimizer, options, [one.scheduler for one in trainer.lr_scheduler_configs])
        begins_at, self._begins_at = self._begins_at, 0
        if begins_at and trainer.current_epoch != begins_at:
            raise BadSetup(
                f"there is a checkpoint of epoch {begins_at}, but training begins at epoch "
                f"{trainer.current_epoch}: tell it where to go on by trainer.fit(model, "
                "ckpt_path=keep.path), with keep = LightningCheckpoint(checkpoint)"
            )

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Save, then let the epoch be reported."""
        with self._checkpoint.save(step=trainer.current_epoch + 1) as directory:
            trainer.save_checkpoint(directory / self.FILE)
        for one in trainer.callbacks:
            if isinstance(one, LightningReport):
                one.report(trainer)
