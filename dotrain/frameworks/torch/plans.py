"""Which rows make which global batch: the same on all ranks, for each epoch by its number.

This imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler as PlainBatchSampler
from torch.utils.data import DistributedSampler, RandomSampler, SequentialSampler

from dotrain.frameworks.base import epoch_order, epoch_seed

#: Returns an epoch's global batches, each as the numbers of its rows.
Plan = Callable[[int], Sequence[Any]]


def is_standard(sampler: Any) -> bool:
    """Whether a sampler gives every row once, in order or shuffled."""
    if type(sampler) is RandomSampler:
        return not sampler.replacement and sampler.num_samples == len(sampler.data_source)
    return type(sampler) is SequentialSampler


def has_own_batches(loader: Any) -> bool:
    """Whether a loader has a `batch_sampler` that its author has written."""
    own = loader.batch_sampler
    return own is not None and type(own) is not PlainBatchSampler


def is_in_order(loader: Any) -> bool:
    """Whether a loader gives rows in their own order."""
    return not has_own_batches(loader) and type(loader.sampler) is SequentialSampler


def plan_of(loader: Any, size: int, seed: int | None) -> Plan:
    """Return the plan of a `DataLoader`: by its own sampler, or its own batches, where it has such."""
    if isinstance(loader.sampler, DistributedSampler):
        raise ValueError(
            "a DataLoader with a DistributedSampler: rows are split between the ranks by the "
            "strategy, each once; leave the sampler out"
        )
    if has_own_batches(loader):
        own = loader.batch_sampler
        return lambda epoch: [list(batch) for batch in _drawn(own, seed, epoch)]
    if not is_standard(loader.sampler):
        sampler = loader.sampler
        return lambda epoch: _cut(np.array(_drawn(sampler, seed, epoch)), size, loader.drop_last)
    try:
        rows = len(loader.dataset)
    except TypeError:
        raise ValueError(
            f"a {type(loader.dataset).__name__} without `__len__`: nobody can tell how many rows it has"
        ) from None
    return lambda epoch: _cut(epoch_order(rows, seed, epoch), size, loader.drop_last)


def _cut(order: Any, size: int, drop_last: bool) -> list[Any]:
    end = len(order) - len(order) % size if drop_last else len(order)
    return [order[first : min(first + size, end)] for first in range(0, end, size)]


def _drawn(sampler: Any, seed: int | None, epoch: int) -> list[Any]:
    """Return what a user's sampler gives in an epoch: the same on all ranks, and whenever it is asked."""
    own_seed = epoch_seed(seed or 0, epoch)
    if hasattr(sampler, "set_epoch"):
        sampler.set_epoch(epoch)
    generator = getattr(sampler, "generator", None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(own_seed)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(own_seed)
        return list(sampler)
