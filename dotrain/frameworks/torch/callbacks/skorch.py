"""Callbacks of skorch that report to the search and keep checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from skorch.callbacks import Callback, LRScheduler

from dotrain.frameworks.torch.callbacks.rates import options_of, put_back
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.logs import report_logs
from dotrain.training.reporter import Reporter


class SkorchReport(Callback):  # type: ignore[misc]
    """Report a net's history at the end of every epoch; the step is the epoch, from 0.

    Args:
        reporter: The train function's ``reporter``.
        metric: The key of the history to report as the search's metric, as ``valid_acc``; by
            default the key of that name.
    """

    def __init__(self, reporter: Reporter, metric: str | None = None) -> None:
        self.reporter = reporter
        self.metric = metric

    def on_epoch_end(self, net: Any, **others: Any) -> None:
        """Report."""
        last = net.history[-1]
        # Of a score it notes too whether it is the best so far.
        logs = {
            key: value
            for key, value in last.items()
            if key not in ("batches", "epoch") and not isinstance(value, bool)
        }
        metric = self.metric or self.reporter.metric
        report_logs(self.reporter, logs, metric, last["epoch"] - 1, "entries of skorch's history")


class SkorchCheckpoint(Callback):  # type: ignore[misc]
    """Keep a checkpoint of modules, optimizers, history and schedules at the end of every epoch.

    Restores the newest one when training begins. Tell the net how many epochs are left:
    ``max_epochs=budget - checkpoint.step``. In the list of callbacks it stands before the one that
    reports: a trial that is stopped has then saved its last epoch.

    Args:
        checkpoint: The train function's ``checkpoint``.
    """

    SCHEDULES = "schedules.pt"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint

    def initialize(self) -> SkorchCheckpoint:
        """Look once for what to go on from."""
        self.latest_ = self.checkpoint.latest
        return self

    def on_train_begin(self, net: Any, **others: Any) -> None:
        """Restore the newest checkpoint, if there is one."""
        if self.latest_ is not None:
            self.own_ = {name: options_of(getattr(net, f"{name}_")) for name in _optimizers(net)}
            net.load_params(**self._files(net, self.latest_))

    def on_epoch_begin(self, net: Any, **others: Any) -> None:
        """Restore what other callbacks set when training begins, and the generators."""
        latest, self.latest_ = self.latest_, None
        if latest is None:
            return
        states = torch.load(latest / self.SCHEDULES, weights_only=False)
        for name, schedule in _schedules(net):
            if name in states:
                schedule.load_state_dict(states[name])
        # A new schedule has changed its optimizer's rate.
        files = self._files(net, latest)
        net.load_params(**{f"f_{name}": files[f"f_{name}"] for name in _optimizers(net)})
        if self.checkpoint.restore_random_state():
            return
        # Another trial's.
        for name, options in self.own_.items():
            put_back(getattr(net, f"{name}_"), options, [each for _, each in _schedules(net)])

    def on_epoch_end(self, net: Any, **others: Any) -> None:
        """Save."""
        with self.checkpoint.save(step=len(net.history)) as directory:
            net.save_params(**self._files(net, directory))
            states = {name: schedule.state_dict() for name, schedule in _schedules(net)}
            torch.save(states, directory / self.SCHEDULES)

    @staticmethod
    def _files(net: Any, folder: Any) -> dict[str, str]:
        names = [*net._modules, *net._criteria, *_optimizers(net)]
        files = {f"f_{name}": str(folder / f"{name}.pt") for name in names}
        return {**files, "f_history": str(folder / "history.json")}


def _optimizers(net: Any) -> list[str]:
    return list(net._optimizers)


def _schedules(net: Any) -> Iterator[tuple[str, Any]]:
    for name, callback in net.callbacks_:
        if isinstance(callback, LRScheduler) and hasattr(callback, "lr_scheduler_"):
            yield name, callback.lr_scheduler_
