"""What nested arguments and results hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def tensors(value: Any) -> Iterator[Any]:
    """Yield the tensors in nested arguments or results."""
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors(one)
    elif isinstance(value, tuple | list):
        for one in value:
            yield from tensors(one)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from tensors(getattr(value, name))
