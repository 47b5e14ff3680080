"""What a study of layers asks of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from dotrain.ablation.layers import Surgery
from dotrain.frameworks.base import AbstractFramework


class TorchModels(AbstractFramework):
    """PyTorch's modules, as far as layers are left out of them."""

    separator: ClassVar[str] = "."
    draws_in_order: ClassVar[bool] = True

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
