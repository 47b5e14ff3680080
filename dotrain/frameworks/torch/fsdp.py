"""Training a model that is split between several workers, with PyTorch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge

from dotrain.frameworks.torch.ddp import GroupStrategy


class FSDP(GroupStrategy):
    """Train one model on `workers` workers, each with its share of every batch, and of the model.

    PyTorch's ``fully_shard``: parameters, gradients and the optimizer's state are split, and a part of the model
    is whole only while it computes. For models beyond one device's memory.
    """

    name = "fsdp"

    def __init__(
        self,
        workers: Annotated[int | None, Ge(1)] = None,
        exact: bool = True,
        backend: Literal["auto", "gloo", "nccl"] = "auto",
        loss: Literal["mean", "sum"] = "mean",
        units: list[str] | None = None,
    ) -> None:
        """Make the strategy.

        Args:
            workers: How many, >= 1.
            exact: Compute what one process with the same global batch would, and refuse what can't be; else
                batch normalization takes its moments from each rank's rows.
            backend: Of the process group; ``auto`` is nccl if each rank has a GPU to itself, else gloo.
            loss: What losses are over the rows they are given: their mean, or their sum.
            units: Names of the classes of modules that are gathered as one, such as a transformer's block; by
                default the members of the model's lists and sequences of modules.
        """
        super().__init__(workers, exact, backend, loss)
        self.units = units

    def _wrapped(self, model: Any) -> Any:
        from dotrain.frameworks.torch import sharded

        if sharded.sharding_of(model) is not None:
            return model
        sharding = sharded.Sharding(exact=self.exact, sums=self.loss == "sum")
        wrapped = sharded.shard(
            model.to(self._group.device),
            sharding,
            exact=self.exact,
            units=self.units or (),
            device=self._group.device,
        )
        self.go_apart()
        self._models.append(sharding)
        return wrapped
