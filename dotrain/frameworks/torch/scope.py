"""What ``dist_strategy()`` gives: the rank's device, its model, and numbers of all ranks.

The same on one process, where nothing is to be done. This imports PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, final

import torch
import torch.distributed as dist

from dotrain.frameworks.torch.group import Group
from dotrain.frameworks.torch.shares import SHARES
from dotrain.training.errors import BadSetup


@final
class Scope:
    """The place of this rank among the ranks of a trial.

    Models that are made inside of its ``with`` block are wrapped; others, for a trainer that wraps
    its model itself, are left as they are.

    Attributes:
        rank: Number of this rank; 0 is the chief.
        num_replicas_in_sync: How many ranks there are.
        device: On which this rank trains.
    """

    def __init__(
        self,
        group: Group | None = None,
        wrapped: Callable[[Any], Any] = lambda model: model,
        dealt: Callable[[Any], Any] = lambda data: data,
    ) -> None:
        """Make one.

        Args:
            group: The ranks; None for one process.
            wrapped: Makes a model this rank's.
            dealt: Makes batches this rank's.
        """
        self._group = group
        self._wrapped, self._dealt = wrapped, dealt
        self.rank = group.rank if group else 0
        self.num_replicas_in_sync = group.ranks if group else 1
        self.is_open = False

    @property
    def device(self) -> Any:
        """On which this rank trains: its GPU, if it has one."""
        if self._group:
            return self._group.device
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def __enter__(self) -> Scope:
        self.is_open = True
        return self

    def __exit__(self, *error: object) -> None:
        self.is_open = False

    def scope(self) -> Scope:
        """Return itself."""
        return self

    def wrap(self, model: Any) -> Any:
        """Return a model of one's own as ``model_gen.create()`` gives it: on the device, of all ranks."""
        return self._wrapped(model)

    def unwrap(self, model: Any) -> Any:
        """Return the plain model, for whatever isn't a pass through it."""
        from torch.nn.parallel import DistributedDataParallel

        return model.module if isinstance(model, DistributedDataParallel) else model

    def batches(
        self, data: Any, batch_size: int = 32, seed: int | None = None, epoch: int = 0
    ) -> Any:
        """Return data of one's own in batches, as ``data_gen.batch()`` does: this rank's rows of each.

        Args:
            data: A `DataLoader`, whose own batch size counts, a `Dataset`, arrays or tensors.
            batch_size: Rows of a batch, over all ranks.
            seed: By which rows are shuffled anew in each epoch; None for their own order.
            epoch: Number of the first iteration.
        """
        from dotrain.frameworks.torch import data as batches

        size = batches.batching(data).size or batch_size
        return self._dealt(batches.batches_of(data, size, seed, epoch))

    def full_state_dict(self, model: Any, optimizer: Any = None) -> dict[str, Any]:
        """Return the whole state of a model, ``{"model": ..., "optimizer": ...}``, as one process has it.

        All ranks must ask for it, and the chief gets it: save it with ``checkpoint.save``.

        Args:
            model: As ``model_gen.create()`` or `wrap` has returned it.
            optimizer: Of its parameters.
        """
        from dotrain.frameworks.torch import sharded

        return sharded.full_state(model, optimizer, keep=self.rank == 0)

    def load_full_state_dict(
        self, state: Mapping[str, Any], model: Any, optimizer: Any = None
    ) -> None:
        """Go on from what `full_state_dict` has returned, on whatever number of ranks.

        Args:
            state: The same on all ranks.
            model: As ``model_gen.create()`` or `wrap` has returned it.
            optimizer: Of its parameters.
        """
        from dotrain.frameworks.torch import sharded

        sharded.load_full_state(state, model, optimizer)

    def mean(self, value: Any) -> Any:
        """Return the mean of what each rank has as a mean over its rows of a batch, over all its rows.

        Args:
            value: A number, a tensor, or a dict of such, of the batch that the model was called with
                last; a loss that has its gradient, of the one that it was trained on last. What a rank without rows
                has, counts nothing.

        Raises:
            BadSetup: If nobody can tell which batch it is of.
        """
        share = SHARES.latest()
        weight = share.weight if share else 1.0
        if SHARES.trained is not None and SHARES.trained.weight != weight:
            parts = list(value.values()) if isinstance(value, Mapping) else [value]
            if not all(isinstance(one, torch.Tensor) and one.requires_grad for one in parts):
                raise BadSetup(
                    "strategy.mean() after batches of which ranks have different parts, for training and since: of which one "
                    "is this a mean? Call it in the step, on the loss itself, before it is made a number; add up a validation "
                    "with strategy.sum()"
                )
            weight = SHARES.trained.weight
        with self._uncounted():
            return self._reduced(value, weight / self.num_replicas_in_sync, strict=False)

    def sum(self, value: Any) -> Any:
        """Return the sum over all ranks.

        Args:
            value: A number, a tensor, or a dict of such.

        Raises:
            BadSetup: If a rank has NaN because it has had a batch of no rows.
        """
        with self._uncounted():
            return self._reduced(value, 1.0, strict=True)

    def gather(self, rows: Any) -> Any:
        """Return the rows that all ranks have for one batch, in the batch's order.

        Args:
            rows: A tensor, whose first dimension counts this rank's rows.
        """
        if not self._group:
            return rows
        with self._uncounted():
            return _gathered(rows.detach().contiguous(), self._group.ranks)

    def _uncounted(self) -> AbstractContextManager[None]:
        return self._group.uncounted() if self._group else nullcontext()

    def _reduced(self, value: Any, weight: float, *, strict: bool) -> Any:
        if not self._group:
            return value
        if isinstance(value, Mapping):
            return {name: self._reduced(one, weight, strict=strict) for name, one in value.items()}
        is_tensor = isinstance(value, torch.Tensor)
        own = value.detach() if is_tensor else torch.as_tensor(value, dtype=torch.float64)
        if not (is_tensor or own.ndim == 0):
            raise TypeError(f"expected a number or a tensor, got {type(value).__name__}")
        own = own.to(self.device)
        if own.dtype == torch.bool:
            own = own.long()
        if not strict:
            own = own if own.is_floating_point() else own.float()
            own = own * weight if weight else torch.zeros_like(own)
            dist.all_reduce(own)
            return own if is_tensor else own.item()
        # A mean over no rows is NaN, and so is what it is added to.
        spoiled = SHARES.had_none and own.is_floating_point() and bool(own.isnan().any())
        flag = torch.tensor([float(spoiled)], device=self.device)
        total = torch.zeros_like(own) if spoiled else own.clone()
        dist.all_reduce(total)
        dist.all_reduce(flag)
        if float(flag) and not (total.is_floating_point() and bool(total.isnan().any())):
            raise BadSetup(
                "the number of a rank is NaN, since a batch had no row for it, and a mean over no rows is "
                "NaN: add up sums (`reduction='sum'`), leave such a batch out (`if len(y):`), or take `strategy.mean(loss)` at each step"
            )
        if float(flag):
            total = total * math.nan
        return total if is_tensor else _as_number(total, value)


def _as_number(total: Any, value: Any) -> Any:
    return int(total) if isinstance(value, int) else float(total)


def _gathered(rows: Any, ranks: int) -> Any:
    sizes = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(ranks)]
    dist.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    padded = rows.new_zeros((max(int(size) for size in sizes), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])
