"""Seeds: everything random in a run is derived from one number."""

from __future__ import annotations

import hashlib
from random import Random


def derive_seed(seed: int, *path: str | int) -> int:
    """Derive an independent seed, the same in every process and on every machine.

    Args:
        seed: The run's seed; 0 is a seed like any other.
        *path: What the derived seed is for, e.g. ``"trial", 7``.

    Returns:
        An integer in [0, 2**31), which every library takes.
    """
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def derive_rng(seed: int, *path: str | int) -> Random:
    """Return a random generator seeded with `derive_seed`."""
    return Random(derive_seed(seed, *path))
