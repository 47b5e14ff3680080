"""A part of no rows: through the model as rows of zeros, and out as none.

Many models can't be called with no rows (``x.view(len(x), -1)``), and many libraries' operations neither.
This imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch


def tensors(value: Any) -> Iterator[Any]:
    """Yield the tensors in nested arguments or results."""
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


def has_no_rows(value: Any) -> bool:
    """Whether a tensor among arguments has no rows."""
    return any(one.ndim and len(one) == 0 for one in tensors(value))


def filled(value: Any) -> Any:
    """Return arguments with one row of zeros for no rows."""
    return _each(value, lambda one: one.new_zeros((1, *one.shape[1:])) if _is(one, 0) else one)


def emptied(value: Any) -> Any:
    """Return results without the one row."""
    return _each(value, lambda one: one[:0] if _is(one, 1) else one)


def _is(tensor: Any, rows: int) -> bool:
    return bool(tensor.ndim) and len(tensor) == rows


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, Mapping):
        changed = {name: _each(one, change) for name, one in value.items()}
        return changed if type(value) is dict else type(value)(**changed)
    if isinstance(value, tuple | list):
        parts = [_each(one, change) for one in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value
