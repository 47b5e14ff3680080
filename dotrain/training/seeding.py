"""Seeding every generator in reach, so that a trial's result doesn't depend on its worker."""

from __future__ import annotations

from dotrain.core.seeding import derive_seed
from dotrain.frameworks import registry


def attempt_seed(seed: int, step: int) -> int:
    """Return what the generators of an attempt are seeded with.

    One that goes on from a checkpoint draws numbers that the attempts before it have not drawn.

    Args:
        seed: The trial's, in [0, 2**31).
        step: The step that the attempt goes on from, >= 0.

    Returns:
        `seed` itself for an attempt that begins anew, else one derived from both, in [0, 2**31).
    """
    return derive_seed(seed, "step", step) if step else seed


def seed_everything(seed: int) -> None:
    """Clear what earlier trials have left in loaded frameworks, and seed their generators.

    Args:
        seed: In [0, 2**31).
    """
    for framework in registry.loaded():
        framework.reset()
    reseed(seed)


def reseed(seed: int) -> None:
    """Seed the same generators once more, in the middle of a trial.

    Args:
        seed: In [0, 2**31).
    """
    for framework in registry.loaded():
        framework.seed(seed)
