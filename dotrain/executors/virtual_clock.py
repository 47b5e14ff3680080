"""A clock that goes from one thing to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class VirtualClock:
    """What happens when: ties are first in, first out."""

    now_s: float = 0.0
    _heap: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def __bool__(self) -> bool:
        return bool(self._heap)

    def next_s(self) -> float:
        """When the next thing happens."""
        return self._heap[0][0]

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Let something happen."""
        self._count += 1
        heapq.heappush(self._heap, (time_s, self._count, action))

    def step(self) -> None:
        """Go to the next thing, and let it happen."""
        self.now_s, _, action = heapq.heappop(self._heap)
        action()
