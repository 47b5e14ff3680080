"""Data in batches: a `DataLoader`, of which each rank gets its rows of every global batch.

This imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    TensorDataset,
)

from dotrain.frameworks.base import Batching
from dotrain.frameworks.none import are_arrays
from dotrain.frameworks.rows import Cut, Rows
from dotrain.frameworks.torch.empty import without_rows
from dotrain.frameworks.torch.nested import tensors
from dotrain.frameworks.torch.plans import (
    Plan,
    has_own_batches,
    is_in_order,
    is_standard,
    plan_of,
)
from dotrain.frameworks.torch.shares import SHARES, Share, bounds
from dotrain.frameworks.torch.tensors import ReadRows, TensorRows, tensor
from dotrain.training.errors import BadSetup

#: Kinds of NumPy's types that PyTorch has, too: booleans, numbers.
_KINDS = "biufc"
#: What of a `DataLoader` stays as its author has set it.
_KEPT = (
    *("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn"),
    *("multiprocessing_context", "generator", "prefetch_factor", "persistent_workers"),
)


def takes(data: Any) -> bool:
    """Whether `batches_of` takes it: a `Dataset`, a `DataLoader`, or arrays, tensors and rows of numbers."""
    if isinstance(data, Dataset | DataLoader):
        return True
    if isinstance(data, Rows):
        return all(dtype.kind in _KINDS for dtype, _ in data.signature)
    return are_arrays(data) and all(
        isinstance(part, torch.Tensor)
        or (isinstance(part, np.ndarray) and part.dtype.kind in _KINDS and part.ndim > 0)
        for part in data
    )


def batching(data: Any) -> Batching:
    """Return what a `DataLoader` says about batches."""
    if not isinstance(data, DataLoader):
        return Batching()
    own = None if isinstance(data.dataset, IterableDataset) else not is_in_order(data)
    return Batching(data.batch_size, own)


def batches_of(data: Any, size: int, seed: int | None, epoch: int) -> DataLoader[Any]:
    """Return a `DataLoader` of global batches.

    Args:
        data: What `takes` takes.
        size: Rows of a batch, over all ranks.
        seed: By which rows are shuffled anew in each epoch; None for their own order.
        epoch: Number of the first iteration.

    Raises:
        ValueError: If it can't be.
    """
    if size < 1:
        raise ValueError(f"batch_size: expected a number >= 1, got {size}")
    if isinstance(data, Rows):
        plan = partial(Cut, data, size, seed)
        return Batches(ReadRows(data), plan, epoch, {"collate_fn": _as_it_is})
    if not isinstance(data, DataLoader):
        data = DataLoader(data if isinstance(data, Dataset) else _tensors(data))
    if isinstance(data.dataset, IterableDataset):
        return _Stream(data, size)
    if data.batch_size is None and is_standard(data.sampler) and not has_own_batches(data):
        return _Stream(data, None)
    kept = {name: getattr(data, name) for name in _KEPT}
    dataset = data.dataset
    if type(dataset) is TensorDataset and kept["collate_fn"] is torch.utils.data.default_collate:
        dataset = TensorRows(*dataset.tensors)
    if isinstance(dataset, TensorRows):
        kept["collate_fn"] = _as_it_is
    return Batches(dataset, plan_of(data, size, seed), epoch, kept)


def _tensors(arrays: Sequence[Any]) -> TensorDataset:
    if len({len(part) for part in arrays}) != 1:
        shapes = ", ".join(str(tuple(part.shape)) for part in arrays)
        raise ValueError(f"arrays to batch must have equally many rows, got shapes {shapes}")
    return TensorDataset(*map(tensor, arrays))


def _as_it_is(batch: Any) -> Any:
    return batch


class Dealt(NamedTuple):
    """To whom batches are dealt.

    Attributes:
        rank: This one.
        ranks: How many there are.
        device: Where its batches go; None for where they are.
    """

    rank: int = 0
    ranks: int = 1
    device: Any = None


@final
class _Own:
    """This rank's rows of each global batch, for the base class and its workers."""

    def __init__(self, plan: Plan, dealt: Dealt, epoch: int, whole: bool) -> None:
        self._plan, self._dealt, self._epoch = plan, dealt, epoch
        #: Whether the data set takes an array of numbers for a whole batch.
        self._whole = whole
        self._batches: Sequence[Any] | None = None
        self._is_asked = False

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next iteration, as trainers do."""
        if epoch != self._epoch:
            self._epoch, self._batches = int(epoch), None

    def batches(self) -> Sequence[Any]:
        """Return the global batches of the next iteration."""
        if self._batches is None:
            self._batches = self._plan(self._epoch)
        return self._batches

    def begin(self) -> Sequence[Any]:
        """Return the global batches of this iteration."""
        batches = self.batches()
        self._is_asked = True
        return batches

    def go_on(self) -> None:
        """Turn to the next epoch."""
        self._epoch, self._batches, self._is_asked = self._epoch + 1, None, False

    def __len__(self) -> int:
        return len(self.batches())

    def __iter__(self) -> Iterator[Any]:
        if self._dealt.ranks > 1 and not self._is_asked:
            raise BadSetup(
                "the batches of data_gen.batch() are this rank's rows already, and something else was "
                "about to split them once more: leave them out of `accelerator.prepare(...)` and the like, or "
                "give it a DataLoader of your own"
            )
        return map(self._rows, self.batches())

    def _rows(self, batch: Any) -> Any:
        first, end = bounds(len(batch), self._dealt.rank, self._dealt.ranks)
        # Of no rows nothing can be made: one is fetched, and taken away again.
        own = batch[first:end] if first < end else batch[:1]
        return own if self._whole or isinstance(own, list) else own.tolist()


@final
class Batches(DataLoader):  # type: ignore[misc]
    """Global batches, or this rank's rows of them; each iteration is the next epoch."""

    def __init__(
        self,
        dataset: Any,
        plan: Plan,
        epoch: int,
        kept: Mapping[str, Any],
        dealt: Dealt | None = None,
    ) -> None:
        """Make them.

        Args:
            dataset: Of rows.
            plan: Which rows make which batch.
            epoch: Number of the first iteration.
            kept: Other arguments of a `DataLoader`.
            dealt: To whom; by default to one process.
        """
        self._made_of = (dataset, plan, epoch, kept)
        self._dealt = dealt or Dealt()
        self._own = _Own(plan, self._dealt, epoch, isinstance(dataset, TensorRows | ReadRows))
        super().__init__(dataset, batch_sampler=self._own, **kept)
        if self._dealt.ranks > 1:
            # Trainers leave alone what is dealt out.
            object.__setattr__(self, "sampler", _Marked(dataset, self._dealt, self._own))

    def dealt_to(self, dealt: Dealt) -> Batches:
        """Return the same batches, dealt out."""
        return Batches(*self._made_of, dealt)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next iteration."""
        self._own.set_epoch(epoch)

    def __iter__(self) -> Iterator[Any]:
        batches = self._own.begin()
        if isinstance(self.dataset, ReadRows):
            rows = self.dataset.batches(iter(self._own))
        else:
            rows = super().__iter__()
        self._own.go_on()
        return self._dealt_out(rows, batches)

    def _dealt_out(self, rows: Any, batches: Sequence[Any]) -> Iterator[Any]:
        rank, ranks, device = self._dealt
        if ranks == 1:
            yield from rows
            return
        iteration = SHARES.begin()
        try:
            for global_batch, batch in zip(batches, rows, strict=True):
                first, end = bounds(len(global_batch), rank, ranks)
                SHARES.give(iteration, Share(end - first, len(global_batch), ranks))
                own = batch
                if first == end:
                    SHARES.spare, own = list(tensors(batch)), without_rows(batch)
                yield own if device is None else moved(own, device)
        finally:
            SHARES.end(iteration)


@final
class _Marked(DistributedSampler):  # type: ignore[misc]
    """By what trainers see that rows are dealt out."""

    def __init__(self, dataset: Any, dealt: Dealt, own: _Own) -> None:
        super().__init__(dataset, dealt.ranks, dealt.rank, shuffle=False)
        self._own = own

    def set_epoch(self, epoch: int) -> None:
        self._own.set_epoch(epoch)


@final
class _Stream(DataLoader):  # type: ignore[misc]
    """Data whose rows have no numbers, as they come."""

    def __init__(self, loader: Any, size: int | None) -> None:
        kept = {name: getattr(loader, name) for name in _KEPT}
        self._what = type(loader.dataset).__name__
        drop_last = bool(loader.drop_last) and size is not None
        if isinstance(loader.dataset, IterableDataset):
            size = size if loader.batch_size is not None else None
            drop_last = drop_last and size is not None
            super().__init__(loader.dataset, batch_size=size, drop_last=drop_last, **kept)
        else:
            super().__init__(loader.dataset, batch_size=None, sampler=loader.sampler, **kept)

    def dealt_to(self, dealt: Dealt) -> Any:
        """Refuse.

        Raises:
            BadSetup: Always, but for one rank.
        """
        if dealt.ranks == 1:
            return self
        raise BadSetup(
            f"the rows of a {self._what} that makes its own batches or is iterated have no numbers, so they can't be split between "
            "ranks, each once: give a Dataset with `__getitem__` and `__len__` of single rows; or split it yourself by "
            "the environment's RANK and WORLD_SIZE, equally, return it from a function of your own, and set distribution.exact: false"
        )


def dealt(data: Any, to: Dealt) -> Any:
    """Return this rank's part of batches.

    Args:
        data: What `batches_of` has returned.
        to: To whom they are dealt.

    Raises:
        BadSetup: If they are another framework's, and each rank would get them all.
    """
    if isinstance(data, Batches | _Stream):
        return data.dealt_to(to)
    if to.ranks == 1:
        return data
    raise BadSetup(
        "data_gen.batch() can't split these data between ranks, and each would get all rows: let the data function "
        "return NumPy arrays of numbers (not pandas' own, nor of strings or objects), tensors, a Dataset or a DataLoader"
    )


def moved(batch: Any, device: Any) -> Any:
    """Return a batch on a device."""
    if hasattr(batch, "to"):
        return batch.to(device, non_blocking=True)
    if type(batch) is dict:
        return {name: moved(part, device) for name, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [moved(part, device) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch
