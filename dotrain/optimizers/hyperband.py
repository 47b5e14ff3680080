"""Hyperband without waiting, and BOHB: several ladders of successive halving beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge

from dotrain.optimizers.halving import SamplerName, SuccessiveHalving, budgets_of


class _Brackets(SuccessiveHalving):
    """Ladders that begin with ever larger budgets.

    New trials are spread over them as Hyperband does: bracket s, with s + 1 rungs, gets
    ``(s_max + 1) / (s + 1) * eta**s`` of them, each at once the bracket whose share is served least.

    Source: Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband: A Novel Bandit-Based Approach to
    Hyperparameter Optimization", JMLR 2018, Algorithm 1; without waiting as in Klein, Tiao, Lienart, Archambeau and
    Seeger, "Model-based Asynchronous Hyperparameter and Neural Architecture Search", 2020.
    """

    def __init__(
        self,
        resource_max: int,
        resource_min: int,
        reduction_factor: int,
        brackets: int | None,
        sampler: SamplerName,
    ) -> None:
        super().__init__(resource_max, resource_min, reduction_factor, sampler)
        self.brackets = brackets

    def ladders(self) -> Sequence[tuple[Sequence[int], float]]:
        """Return those of the brackets, the one with the smallest budget first."""
        budgets = budgets_of(self.resource_min, self.resource_max, self.reduction_factor)
        kept = range(len(budgets))[: self.brackets]
        return [(budgets[k:], self._weight(len(budgets) - 1, len(budgets) - 1 - k)) for k in kept]

    def _weight(self, s_max: int, s: int) -> float:
        return (s_max + 1) / (s + 1) * float(self.reduction_factor) ** s


class Hyperband(_Brackets):
    """ASHA in several brackets, some of which begin with larger budgets: for when short trials may mislead.

    Args:
        resource_max: R, the most steps that one trial may use (>= 1).
        resource_min: r, the least steps of a trial (>= 1).
        reduction_factor: eta (>= 2): one in `reduction_factor` is promoted.
        brackets: How many of the brackets, those with the smallest budgets first (>= 1); by default all.
    """

    def __init__(
        self,
        *,
        resource_max: Annotated[int, Ge(1)],
        resource_min: Annotated[int, Ge(1)] = 1,
        reduction_factor: Annotated[int, Ge(2)] = 3,
        brackets: Annotated[int, Ge(1)] | None = None,
    ) -> None:
        super().__init__(resource_max, resource_min, reduction_factor, brackets, "random")


class BOHB(_Brackets):
    """Hyperband whose new configurations a model proposes; it takes optuna, for TPE.

    Args:
        resource_max: R, the most steps that one trial may use (>= 1).
        resource_min: r, the least steps of a trial (>= 1).
        reduction_factor: eta (>= 2): one in `reduction_factor` is promoted.
        brackets: How many of the brackets, those with the smallest budgets first (>= 1); by default all.
    """

    def __init__(
        self,
        *,
        resource_max: Annotated[int, Ge(1)],
        resource_min: Annotated[int, Ge(1)] = 1,
        reduction_factor: Annotated[int, Ge(2)] = 3,
        brackets: Annotated[int, Ge(1)] | None = None,
    ) -> None:
        super().__init__(resource_max, resource_min, reduction_factor, brackets, "tpe")
