"""A train function of a module that imports TensorFlow."""

from __future__ import annotations

import tensorflow as tf


def train() -> float:
    """Return a number that TensorFlow has computed."""
    return float(tf.reduce_sum(tf.ones(3)))
