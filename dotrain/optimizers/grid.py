"""Grid search."""

from __future__ import annotations

from typing import Annotated, ClassVar

from annotated_types import Ge

from dotrain.core.policy import AbstractOptimizer, Plan
from dotrain.core.trial import Trial
from dotrain.space import Axis, Params, SpaceError


class GridSearch(AbstractOptimizer):
    """Try every combination of values once.

    Args:
        points: The most values per parameter (>= 1), spread evenly; needed if a float has no
            step. By default every value.
    """

    needs_num_trials: ClassVar[bool] = False
    takes_several_metrics: ClassVar[bool] = True

    def __init__(self, *, points: Annotated[int, Ge(1)] | None = None) -> None:
        self.points = points

    def check(self) -> None:
        """Refuse a continuum without `points`."""
        for name, domain in self.searchspace.domains.items():
            try:
                Axis.of(domain, self.points)
            except SpaceError as error:
                raise ValueError(f"parameter '{name}': {error}") from None
        if not self.searchspace.configurations(self.points).size:
            raise ValueError(
                "no point of the grid meets search.space_constraints; take more points"
            )

    def initialize(self) -> None:
        """Start at the grid's first corner."""
        self._left = self.searchspace.grid(self.points)
        self._suggested = 0
        self._first_ones: list[Params] = []

    def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
        """Return the next combination, or None after the last or after `num_trials`."""
        if self._suggested == self.num_trials:
            return None
        params = self._next()
        if params is None:
            return None
        self._suggested += 1
        return self.create_trial(params, reason=f"grid point {self._suggested}")

    def _next(self) -> Params | None:
        if (first := self.next_first()) is not None:
            self._first_ones.append(first)
            return first
        return next((point for point in self._left if point not in self._first_ones), None)

    def may_continue(self, trial: Trial) -> bool:
        """Never: a trial is launched once."""
        return False

    def plan(self) -> Plan:
        """One launch per combination, `num_trials` at most."""
        size = self.searchspace.configurations(self.points).size
        if self.num_trials is None or self.num_trials >= size:
            return Plan(configurations=size, launches=size)
        note = f"num_trials leaves out {size - self.num_trials} of the grid's {size} points"
        return Plan(self.num_trials, self.num_trials, notes=(note,))
