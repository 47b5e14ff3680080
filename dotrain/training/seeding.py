"""Seeding every generator in reach, so that a trial's result doesn't depend on its worker."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterable

#: Packages whose global state is reset for each trial if the user's code imports them anywhere.
SEEDED = ("tensorflow", "keras", "torch")


def import_seeded(packages: Iterable[str]) -> None:
    """Import those of `SEEDED` that the user's code names.

    A train function that imports TensorFlow inside would else run its first trial on a worker
    unseeded and the next ones seeded.
    """
    wanted = set(packages)
    if "tensorflow" in wanted:
        wanted.add("keras")
    for name in SEEDED:
        if name in wanted:
            importlib.import_module(name)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, and Keras/TensorFlow and PyTorch where they are loaded.

    Keras' global state is cleared too: else layer names and memory would depend on the trials
    that ran in the process before.

    Args:
        seed: In [0, 2**31).
    """
    if "keras" in sys.modules:
        import keras

        keras.backend.clear_session()
    reseed(seed)


def reseed(seed: int) -> None:
    """Seed the same generators once more, in the middle of a trial.

    Args:
        seed: In [0, 2**31).
    """
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "keras" in sys.modules:
        import keras

        keras.utils.set_random_seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
