"""A part of no rows: through the model as one of another rank's, and out as none.

Many models can't be called with no rows (``x.view(len(x), -1)``), and many libraries' operations neither.
This imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dotrain.frameworks.torch.nested import tensors
from dotrain.training.errors import BadSetup


def has_no_rows(value: Any) -> bool:
    """Whether a tensor among arguments has no rows."""
    return any(one.ndim and len(one) == 0 for one in tensors(value))


def filled(value: Any, spare: Sequence[Any]) -> Any:
    """Return arguments with one row for no rows.

    Args:
        value: The arguments.
        spare: Tensors of a real row, which are taken where they fit; else ones are, at which fewer
            functions have no slope than at zero.
    """

    def with_a_row(one: Any) -> Any:
        if not _is(one, 0):
            return one
        for tensor in spare:
            if tensor.shape[1:] == one.shape[1:] and tensor.dtype == one.dtype:
                return tensor.to(one.device)
        return one.new_ones((1, *one.shape[1:]))

    return each(value, with_a_row)


def emptied(value: Any) -> Any:
    """Return results without the one row."""
    return each(value, lambda one: one[:0] if _is(one, 1) else one)


def _is(tensor: Any, rows: int) -> bool:
    return bool(tensor.ndim) and len(tensor) == rows


def each(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested values with their tensors changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, Mapping):
        changed = {name: each(one, change) for name, one in value.items()}
        return changed if type(value) is dict else type(value)(**changed)
    if isinstance(value, tuple | list):
        parts = [each(one, change) for one in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def without_rows(batch: Any) -> Any:
    """Return a batch of one row without it.

    Raises:
        BadSetup: If it is of a type for which nobody knows how.
    """
    if isinstance(batch, torch.Tensor | np.ndarray):
        return batch[:0] if batch.ndim else batch
    if isinstance(batch, Mapping):
        # Of its own class, which may add to a dict, as tokenizers' batches do.
        emptied = {name: without_rows(part) for name, part in batch.items()}
        of_its_class: Any = type(batch)
        return emptied if of_its_class is dict else of_its_class(emptied)
    if isinstance(batch, tuple | list):
        if batch and not isinstance(batch[0], torch.Tensor | np.ndarray | Mapping | tuple | list):
            return type(batch)()
        parts = [without_rows(part) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    raise BadSetup(
        f"a rank has no row of a global batch, and nobody knows what a {type(batch).__name__} without rows is: choose a "
        "batch_size, and a number of rows, of which every worker gets some (`drop_last=True` leaves out the last batch)"
    )
