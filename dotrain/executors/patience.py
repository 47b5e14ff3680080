"""How long a storage is waited for that doesn't answer, and how often it is asked; pure."""

from __future__ import annotations

from typing import final

#: How long it is waited for altogether, in seconds, and at the end of a run that is broken off.
PATIENCE_S, LAST_PATIENCE_S = 300.0, 10.0
#: Between one try and the next, in seconds: at first, and at most.
_FIRST_S, _LONGEST_S = 0.25, 10.0


@final
class Patience:
    """Of one thing that is tried again and again.

    Attributes:
        bound_s: How long it is tried.
    """

    def __init__(self, began_s: float, bound_s: float) -> None:
        """Begin.

        Args:
            began_s: The time, on a clock that never goes back.
            bound_s: How long it is tried.
        """
        self.bound_s = bound_s
        self._ends_s = began_s + bound_s
        self._next_s = _FIRST_S

    def hurry(self, now_s: float) -> None:
        """Be done with it soon: the run ends. That it is said again changes nothing."""
        if now_s + LAST_PATIENCE_S < self._ends_s:
            self.bound_s = LAST_PATIENCE_S
            self._ends_s = now_s + LAST_PATIENCE_S
            self._next_s = _FIRST_S

    def next_delay_s(self, now_s: float) -> float | None:
        """Return how long to wait before the next try, or None if it has been tried long enough."""
        left_s = self._ends_s - now_s
        if left_s <= 0:
            return None
        delay_s, self._next_s = min(self._next_s, left_s), min(2 * self._next_s, _LONGEST_S)
        return delay_s


def waiting_text(trouble: str, bound_s: float) -> str:
    """Say that a storage is waited for.

    Args:
        trouble: What is wrong.
        bound_s: How long it is waited for.
    """
    return f"storage: {trouble}; trying again for up to {bound_s:g} s"
