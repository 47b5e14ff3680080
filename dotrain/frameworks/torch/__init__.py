"""PyTorch: so far its seed and its version."""

from __future__ import annotations

from typing import ClassVar, final

from dotrain.frameworks.base import AbstractFramework


@final
class Torch(AbstractFramework):
    """PyTorch."""

    packages: ClassVar[tuple[str, ...]] = ("torch",)
    distributions: ClassVar[tuple[str, ...]] = ("torch",)

    def seed(self, seed: int) -> None:
        """Seed the generators of all devices."""
        import torch

        torch.manual_seed(seed)
