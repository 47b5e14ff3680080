"""ASHA, the promotion variant; what it does is in `dotrain.optimizers.halving`."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge

from dotrain.optimizers.halving import SuccessiveHalving


class ASHA(SuccessiveHalving):
    """Asynchronous successive halving: many short trials, few long ones, nobody waits.

    Args:
        resource_max: R, the most steps that one trial may use (>= 1).
        resource_min: r, the steps of the lowest rung (>= 1).
        reduction_factor: eta (>= 2): one in `reduction_factor` is promoted.
        sampler: Where new configurations come from: `random`, or `tpe`, which takes optuna.
    """

    def __init__(
        self,
        *,
        resource_max: Annotated[int, Ge(1)],
        resource_min: Annotated[int, Ge(1)] = 1,
        reduction_factor: Annotated[int, Ge(2)] = 3,
        sampler: Literal["random", "tpe"] = "random",
    ) -> None:
        super().__init__(resource_max, resource_min, reduction_factor, sampler)
