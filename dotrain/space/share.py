"""How much of a space meets its constraints."""

from __future__ import annotations

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
