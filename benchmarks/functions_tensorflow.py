"""Train functions of a module that imports TensorFlow."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from dotrain.training.reporter import Reporter


def train() -> float:
    """Return a number that TensorFlow has computed."""
    return float(tf.reduce_sum(tf.ones(3)))


def fit(x: float) -> float:
    """Train a tiny model on one batch."""
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    model.train_on_batch(np.ones((8, 4), "float32"), np.full((8, 1), x, "float32"))
    return x


def crash(x: float, reporter: Reporter, trial_dir: Path) -> float:
    """Report at once, say when, and crash in every other trial."""
    reporter.broadcast(x)
    (trial_dir / "reported").write_text(repr(time.monotonic()))
    if int(trial_dir.name[1:]) % 2 == 0:
        (trial_dir / "crashed").write_text(repr(time.monotonic()))
        os.kill(os.getpid(), signal.SIGSEGV)
    return x
