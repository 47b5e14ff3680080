"""How much of a space meets its constraints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

#: Draws of which so many must meet the constraints, or drawing is hopeless.
TRIED: Final = 10_000
_LEAST_MET: Final = 10
#: Once so many have met them, the share is known well enough.
ENOUGH: Final = 1000


class Share(NamedTuple):
    """How much of a space meets its constraints.

    Attributes:
        met: How many do.
        of: Of how many configurations, or random draws.
        is_exact: Whether all configurations were counted.
    """

    met: int
    of: int
    is_exact: bool

    @classmethod
    def of_draws(cls, meets: Callable[[], bool]) -> Share:
        """Return the share of random draws, as many as it takes to know it well.

        Args:
            meets: Draws a configuration, and says whether it meets the constraints.
        """
        met = drawn = 0
        while drawn < TRIED and met < ENOUGH:
            drawn += 1
            met += meets()
        return cls(met, drawn, is_exact=False)

    def __str__(self) -> str:
        what = "configurations" if self.is_exact else "random draws"
        return f"{self.met:,} of {self.of:,} {what}"

    @property
    def problem(self) -> str:
        """Why nothing can be drawn, to be followed by what is to be met; or ``""``."""
        if self.is_exact:
            return "" if self.met else f"none of the {self.of:,} configurations meets"
        if self.met >= _LEAST_MET:
            return ""
        if not self.met:
            return f"none of {self.of:,} random draws meets"
        return f"only {self.met} of {self.of:,} random draws meet"
