"""Rows as tensors, indexed with whole batches.

This imports PyTorch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, final

import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

from dotrain.frameworks.rows import Rows, read


def tensor(array: Any) -> Any:
    """Return an array as a tensor, without a copy where that can be."""
    if isinstance(array, torch.Tensor):
        return array
    # It must have its bytes in this machine's order, and go forward; one that can't be written to is only read here.
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writ")
        return torch.from_numpy(np.ascontiguousarray(array))


@final
class TensorRows(TensorDataset):  # type: ignore[misc]
    """Tensors that are indexed with whole batches."""

    def __getitems__(self, indices: Any) -> list[Any]:
        chosen = torch.as_tensor(indices)
        return [tensor[chosen] for tensor in self.tensors]


@final
class ReadRows(Dataset):  # type: ignore[misc]
    """Rows that are read by whole batches."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        return [part[0] for part in self.__getitems__([index])]

    def __getitems__(self, indices: Any) -> list[Any]:
        return list(map(tensor, self._rows.take(np.asarray(indices))))

    def batches(self, batches: Iterable[Any]) -> Iterator[list[Any]]:
        """Yield batches, read ahead where that is faster."""
        return (list(map(tensor, parts)) for parts in read(self._rows, batches))
