"""PyTorch: so far its seed, its threads and its version."""

from __future__ import annotations

import contextlib
from typing import ClassVar, final

from dotrain.frameworks.base import AbstractFramework


@final
class Torch(AbstractFramework):
    """PyTorch."""

    packages: ClassVar[tuple[str, ...]] = ("torch",)
    distributions: ClassVar[tuple[str, ...]] = ("torch",)

    def set_threads(self, count: int, code: str) -> None:
        """Limit the pool of operations, which may be done once in a process and before its use."""
        import torch

        if "set_num_interop_threads" not in code:
            with contextlib.suppress(RuntimeError):  # a module that was imported has done it
                torch.set_num_interop_threads(count)

    def seed(self, seed: int) -> None:
        """Seed the generators of all devices."""
        import torch

        accelerator = getattr(torch, "accelerator", None)  # since 2.6
        if accelerator is not None and accelerator.current_accelerator() is None:
            # This build knows the processor alone; to note down the seed for all others takes 5 ms.
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
