"""Seeding every generator in reach, so that a trial's result doesn't depend on its worker."""

from __future__ import annotations

from dotrain.frameworks import registry


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
