"""Synchronous data-parallel training over several workers, with PyTorch."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

from annotated_types import Ge

from dotrain.core.strategy import AbstractStrategy, Seat
from dotrain.training.errors import BadSetup

_UNUSED = (
    "the train function has trained nothing in its group, so every rank has trained the same model "
    "apart: create the model inside `with dist_strategy():`, or use a trainer that takes the process group"
)


class GroupStrategy(AbstractStrategy):
    """What the strategies of PyTorch have in common: one rank on each of several workers."""

    packages = ("torch",)
    name = ""

    def __init__(self, workers: int | None, exact: bool, backend: Any, loss: Any) -> None:
        if workers is None:
            raise ValueError(f"strategy '{self.name}' needs 'workers': how many")
        if workers < 1:
            raise ValueError(f"workers: expected a number >= 1, got {workers}")
        self.workers = workers
        self.exact = exact
        self.backend = backend
        self.loss = loss
        self._group: Any = None
        self._scope: Any = None
        self._models: list[Any] = []

    @property
    def slots(self) -> int:
        """One slot for every rank."""
        return self.workers

    @property
    def open_ports(self) -> int:
        """One for every rank, and the chief's store: neither asks who comes."""
        return self.workers + 1 if self.workers > 1 else 0

    def begin(self, seat: Seat) -> None:
        """Bring the process group up."""
        if seat.ranks == 1:
            return
        from dotrain.frameworks.torch import group

        self._group = group.start(seat, self.backend)

    def open(self) -> Any:
        """Return the scope of this rank."""
        from dotrain.frameworks.torch.scope import Scope

        if self._group is None:
            return Scope()
        if self._scope is None:
            self._scope = Scope(self._group, self._wrapped, self.shard)
        return self._scope

    @abstractmethod
    def _wrapped(self, model: Any) -> Any:
        """Return a model of all ranks."""

    def model(self, model: Any) -> Any:
        """Wrap it, inside of the scope."""
        import torch

        if self._scope is None or not self._scope.is_open or not isinstance(model, torch.nn.Module):
            return model
        return self._wrapped(model)

    def shard(self, dataset: Any) -> Any:
        """Deal out each global batch by rows."""
        if self._group is None:
            return dataset
        from dotrain.frameworks.torch import data

        device = self._group.device if self._group.device.type != "cpu" else None
        return data.dealt(dataset, data.Dealt(self._group.rank, self._group.ranks, device))

    def go_apart(self) -> None:
        """Let ranks other than the chief draw from streams of their own."""
        if self._group is None or not self._group.rank:
            return
        import torch

        from dotrain.core.seeding import derive_seed

        drawn = int(torch.randint(2**31 - 1, ()))
        torch.manual_seed(derive_seed(drawn, "rank", self._group.rank))

    def check_use(self) -> None:
        """Refuse a function that has trained without the group."""
        if self._group is None:
            return
        trained = any(one.was_trained for one in self._models)
        if not (trained if self._models else self._group.was_used):
            raise BadSetup(_UNUSED)

    def peer_is_gone(self, error: BaseException) -> bool:
        """Whether a collective operation has failed, which it does when a rank dies."""
        from dotrain.frameworks.torch import group

        return group.peer_is_gone(error)


class DDP(GroupStrategy):
    """Train one model on `workers` workers, each with its share of every batch.

    PyTorch's ``DistributedDataParallel``, in a subclass that knows how many rows each rank has.
    """

    name = "ddp"

    def __init__(
        self,
        workers: Annotated[int | None, Ge(1)] = None,
        exact: bool = True,
        backend: Literal["auto", "gloo", "nccl"] = "auto",
        loss: Literal["mean", "sum"] = "mean",
        find_unused_parameters: bool = False,
    ) -> None:
        """Make the strategy.

        Args:
            workers: How many, >= 1.
            exact: Compute what one process with the same global batch would, and refuse what can't be; else
                batch normalization takes its moments from each rank's rows, as PyTorch does by itself.
            backend: Of the process group; ``auto`` is nccl if each rank has a GPU to itself, else gloo.
            loss: What losses are over the rows they are given: their mean, or their sum.
            find_unused_parameters: Whether parameters may get no gradient in a step, as of
                ``DistributedDataParallel``.
        """
        super().__init__(workers, exact, backend, loss)
        self.find_unused_parameters = find_unused_parameters

    def _wrapped(self, model: Any) -> Any:
        from dotrain.frameworks.torch.wrapped import Distributed

        if isinstance(model, Distributed):
            return model
        wrapped = Distributed(
            model.to(self._group.device),
            exact=self.exact,
            sums=self.loss == "sum",
            device=self._group.device,
            find_unused_parameters=self.find_unused_parameters,
        )
        self.go_apart()
        self._models.append(wrapped)
        return wrapped
