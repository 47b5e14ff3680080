"""Keras callbacks that report to the search and keep checkpoints."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import keras

from dotrain.frameworks.keras.seeds import layers_generators, set_layers_generators
from dotrain.training.checkpoint import Checkpoint
from dotrain.training.logs import report_logs
from dotrain.training.reporter import Reporter


class _Reports(keras.callbacks.Callback):  # type: ignore[misc]
    """What both have in common."""

    def __init__(self, reporter: Reporter, metric: str | None = None) -> None:
        super().__init__()
        self._reporter = reporter
        self._metric = metric or reporter.metric

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Note the model, whose evaluation the train function may return."""
        self._reporter.trained = self.model


class KerasEpochEnd(_Reports):
    """Report at the end of every epoch.

    Args:
        reporter: The train function's ``reporter``.
        metric: The key of Keras' logs to report as the search's metric; by default the key of
            that name.
    """

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report; the step is the epoch, from 0."""
        report_logs(self._reporter, logs or {}, self._metric, epoch, "Keras' logs")


class KerasBatchEnd(_Reports):
    """Report at the end of every training batch.

    Args:
        reporter: The train function's ``reporter``.
        metric: The key of Keras' logs to report as the search's metric; by default the key of
            that name.
    """

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report; the steps count batches over all epochs."""
        report_logs(self._reporter, logs or {}, self._metric, None, "Keras' logs")


class KerasCheckpoint(keras.callbacks.Callback):  # type: ignore[misc]
    """Keep a checkpoint of weights, optimizer and generators at the end of every epoch.

    Restores the newest one when training begins, so that with the batches of ``data_gen.batch()`` a training
    that was interrupted ends as one that never was. Tell ``fit`` where to go on:
    ``model.fit(..., initial_epoch=checkpoint.step, epochs=budget)``. In the list of callbacks it
    stands before the one that reports: a trial that is stopped has then saved its last epoch.

    Args:
        checkpoint: The train function's ``checkpoint``.
    """

    FILE = "model.weights.h5"
    #: Keras' own file of weights leaves out the generators of layers.
    GENERATORS = "generators.json"

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        self._checkpoint = checkpoint

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Restore the newest checkpoint, if there is one."""
        latest = self._checkpoint.latest
        if latest is not None:
            # The optimizer's slots must exist before they can be restored.
            optimizer = self.model.optimizer
            optimizer.build(self.model.trainable_variables)
            rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
            self.model.load_weights(latest / self.FILE)
            # Generators of another trial (pbt) would let this one draw the same numbers.
            if not self._checkpoint.restore_random_state():
                with contextlib.suppress(TypeError):  # a schedule's is no part of the checkpoint
                    optimizer.learning_rate = rate
            elif (latest / self.GENERATORS).exists():
                states = json.loads((latest / self.GENERATORS).read_text(encoding="utf-8"))
                set_layers_generators(self.model, states)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save."""
        with self._checkpoint.save(step=epoch + 1) as directory:
            self.model.save_weights(directory / self.FILE)
            states = json.dumps(layers_generators(self.model))
            (directory / self.GENERATORS).write_text(states, encoding="utf-8")
