"""PyTorch: its seed, its threads and its version; layers left out of its models."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, final

from dotrain.ablation.layers import Surgery
from dotrain.frameworks.base import AbstractFramework


@final
class Torch(AbstractFramework):
    """PyTorch."""

    packages: ClassVar[tuple[str, ...]] = ("torch",)
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    separator: ClassVar[str] = "."

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

    def is_model(self, model: Any) -> bool:
        """Whether it is a module."""
        import torch

        return isinstance(model, torch.nn.Module)

    def layer_names(self, model: Any) -> Sequence[str]:
        """Return the names of ``named_modules()``."""
        from dotrain.frameworks.torch.surgery import layer_names

        return layer_names(model)

    def without_layers(
        self, model: Any, names: Sequence[str], first_rows: Callable[[], Any] | None = None
    ) -> Surgery:
        """Bypass the layers in a copy of the model, and run it to see what that takes."""
        from dotrain.frameworks.torch.surgery import without_layers

        return without_layers(model, names, first_rows)

    def inherit(self, original: Any, model: Any) -> None:
        """Hand parameters and buffers over, layer by layer."""
        from dotrain.frameworks.torch.surgery import inherit_weights

        inherit_weights(original, model)

    def parameters(self, model: Any) -> int | None:
        """Count a model's parameters, unless one has no shape yet."""
        from dotrain.frameworks.torch.surgery import parameters

        return parameters(model)

    def same_graph(self, one: Any, other: Any) -> bool:
        """Compare classes, attributes and shapes."""
        from dotrain.frameworks.torch.surgery import same_graph

        return same_graph(one, other)
