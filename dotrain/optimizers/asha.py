"""ASHA, the promotion variant; what it does is in `dotrain.optimizers.halving`."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from dotrain.optimizers.halving import SamplerName, SuccessiveHalving


class ASHA(SuccessiveHalving):
    """Asynchronous successive halving: many short trials, few long ones, nobody waits.

    Args:
        resource_max: R, the most steps that one trial may use (>= 1).
        resource_min: r, the steps of the lowest rung (>= 1).
        reduction_factor: eta (>= 2): one in `reduction_factor` is promoted.
        sampler: Where new configurations come from: `random`, `tpe`, which takes optuna, or `gp`, which takes SciPy.
    """

    def __init__(
        self,
        *,
        resource_max: Annotated[int, Ge(1)],
        resource_min: Annotated[int, Ge(1)] = 1,
        reduction_factor: Annotated[int, Ge(2)] = 3,
        sampler: SamplerName = "random",
    ) -> None:
        super().__init__(resource_max, resource_min, reduction_factor, sampler)
