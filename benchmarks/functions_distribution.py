"""What `distribution.py` trains: through dotrain, and in processes started by hand.

    python benchmarks/functions_distribution.py one|plain|exact [FOLDER]

`one` trains in this process, on one core. The others are one rank of several, as TF_CONFIG says:
`plain` with TensorFlow's strategy and no more than what makes Keras 3 run on it, `exact` with
dotrain's strategy, but without the rest of dotrain. Rank 0 prints what it has measured, as JSON.
With a folder, epochs are trained by turns with another training that has been given the same one.
All times are of the monotonic clock, which is the same in every process of a Linux machine.
"""

from __future__ import annotations

import time

_FIRST_LINE_S = time.monotonic()

import contextlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable, Mapping, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from turns import Turns  # noqa: E402

from dotrain.core.strategy import Seat  # noqa: E402
from dotrain.frameworks.tensorflow.multi_worker import MultiWorkerMirrored  # noqa: E402
from dotrain.training.reporter import Reporter  # noqa: E402

#: Rows of a batch, over all ranks.
BATCH = 256
EPOCH_STEPS = 50
#: Epochs that are measured, after one that isn't.
EPOCHS = 20
#: When this module had been imported, and when the process was forked that runs the trial.
_stamps = {"first_line": _FIRST_LINE_S, "imported": time.monotonic(), "forked": 0.0}
os.register_at_fork(after_in_child=lambda: _stamps.update(forked=time.monotonic()))


def cnn() -> Any:
    """Return much to compute for few weights (14,000)."""
    return keras.Sequential(
        [
            keras.layers.Input((16, 16, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def mlp() -> Any:
    """Return little to compute for many weights (134,000)."""
    return keras.Sequential(
        [
            keras.layers.Input((16, 16, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


MODELS: Mapping[str, Callable[[], Any]] = {"mlp": mlp, "cnn": cnn}


def rank() -> int:
    """Return which rank this process is; 0 if it is the only one."""
    return int(json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0))


class Begin(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes when epochs begin and when the first step has ended; the first of the callbacks."""

    def __init__(self, turns: Turns | None) -> None:
        super().__init__()
        self.first_step_s = 0.0
        self.times_s: list[float] = []
        self._turns = turns

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note the time, when it is this training's turn."""
        if self._turns:
            self._turns.wait()
        self.times_s.append(time.perf_counter())

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Note the time, once."""
        self.first_step_s = self.first_step_s or time.monotonic()


class End(keras.callbacks.Callback):  # type: ignore[misc]
    """Notes when epochs end; the last of the callbacks, so that reports count."""

    def __init__(self, turns: Turns | None) -> None:
        super().__init__()
        self.times_s: list[float] = []
        self._turns = turns

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Note the time."""
        self.times_s.append(time.perf_counter())
        if self._turns:
            self._turns.give()


class Tell(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports the time, after every step or every epoch."""

    def __init__(self, reporter: Reporter, *, steps: bool) -> None:
        super().__init__()
        self._reporter = reporter
        self._steps = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Report."""
        if self._steps:
            self._reporter.broadcast(time.monotonic())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Report."""
        if not self._steps:
            self._reporter.broadcast(time.monotonic())


def data() -> Any:
    """Return batches without end: a data set that begins anew is not what is measured."""
    rng = np.random.default_rng(0)
    images = rng.random((8 * BATCH, 16, 16, 1), dtype="float32")
    labels = rng.integers(0, 10, len(images))
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    rows = tf.data.Dataset.from_tensor_slices((images, labels)).repeat()
    return rows.batch(BATCH, drop_remainder=True).prefetch(2).with_options(options)


def compiled(scope: Callable[[], Any], kind: str) -> Any:
    with scope():
        model = MODELS[kind]()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def train_all(
    scope: Callable[[], Any],
    began: Mapping[str, float],
    callbacks: Sequence[Any] = (),
    turns: Turns | None = None,
) -> dict[str, float]:
    """Train every model; return when the first one began and had made its first step."""
    result = dict(began)
    for kind in MODELS:
        model = compiled(scope, kind)
        result.setdefault("compiled", time.monotonic())
        begin, end = Begin(turns), End(turns)
        model.fit(
            data(),
            steps_per_epoch=EPOCH_STEPS,
            epochs=1 + EPOCHS if turns else 1,
            verbose=0,
            callbacks=[begin, *callbacks, end],
        )
        result.setdefault("first_step", begin.first_step_s)
        if turns:
            spans = list(zip(begin.times_s, end.times_s, strict=True))[1:]
            turns.keep(kind, [EPOCH_STEPS / (ended - began) for began, ended in spans])
    return result


def by_turns(dist_strategy: Any, reporter: Reporter, folder: str) -> float:
    """Train every model through dotrain, with a report an epoch as is usual."""
    turns = Turns(Path(folder), "dotrain", "hand", rank() == 0)
    train_all(dist_strategy, {}, [Tell(reporter, steps=False)], turns)
    return 0.0


def start_up(dist_strategy: Any, reporter: Reporter, x: float) -> dict[str, float]:
    """Train for three steps; return when what was done."""
    entered_s = time.monotonic()
    model = compiled(dist_strategy, "cnn")
    compiled_s = time.monotonic()
    model.fit(data(), steps_per_epoch=3, verbose=0, callbacks=[Tell(reporter, steps=True)])
    return {"metric": x, **_stamps, "entered": entered_s, "compiled": compiled_s}


def long(dist_strategy: Any, reporter: Reporter, steps: int) -> float:
    """Train for many steps, with a report after each; print who does."""
    print("pid", os.getpid(), flush=True)
    model = compiled(dist_strategy, "cnn")
    model.fit(data(), steps_per_epoch=steps, verbose=0, callbacks=[Tell(reporter, steps=True)])
    return 0.0


def plain() -> Any:
    """Return TensorFlow's strategy with the one change that Keras 3 can't do without."""

    class Reducing(tf.distribute.MultiWorkerMirroredStrategy):  # type: ignore[misc]
        def reduce(self, reduce_op: Any, value: Any, axis: int | None = None) -> Any:
            if tf.nest.is_nested(value):
                return tf.nest.map_structure(
                    lambda part: self.experimental_local_results(part)[0], value
                )
            if axis == 0 and self.experimental_local_results(value)[0].shape.rank == 0:
                axis = None
            return super().reduce(reduce_op, value, axis)

    return Reducing().scope


def exact() -> Any:
    """Return dotrain's strategy, ready."""
    asked = json.loads(os.environ["TF_CONFIG"])
    addresses = asked["cluster"]["worker"]
    strategy = MultiWorkerMirrored(len(addresses))
    strategy.begin(Seat(asked["task"]["index"], tuple(addresses)))
    return strategy.open


def main() -> None:
    """Train as the command line says, without dotrain."""
    way, *folder = sys.argv[1:]
    if way == "one":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    started = {**_stamps, "begin": time.monotonic()}
    scopes = {"one": lambda: contextlib.nullcontext, "plain": plain, "exact": exact}
    scope = scopes[way]()
    turns = Turns(Path(folder[0]), "hand", "dotrain", rank() == 0) if folder else None
    result = train_all(scope, {**started, "entered": time.monotonic()}, turns=turns)
    if rank() == 0:
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
