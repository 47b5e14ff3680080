"""Which hosts to avoid: those whose trials fail at once while others' don't."""

from __future__ import annotations

from collections import Counter

#: An attempt that fails within this time has failed at once, in seconds.
AT_ONCE_S = 5.0

#: So many attempts in a row must have failed at once.
STREAK = 3


class HostHealth:
    """Counts, by host; no clock, no I/O."""

    def __init__(self) -> None:
        self._streaks: Counter[str] = Counter()
        self._sound: set[str] = set()
        self.avoided: set[str] = set()

    def record(self, host: str, *, failed: bool, took_s: float) -> bool:
        """Note how an attempt ended.

        Args:
            host: Where it ran.
            failed: Whether it failed; a stop is no failure.
            took_s: How long it took, in seconds.

        Returns:
            Whether some host is to be avoided from now on that wasn't before.
        """
        if failed and took_s < AT_ONCE_S:
            self._streaks[host] += 1
        else:
            self._streaks[host] = 0
            if not failed:
                self._sound.add(host)
        before = len(self.avoided)
        # A function that fails everywhere is no host's fault.
        self.avoided |= {
            bad
            for bad, streak in self._streaks.items()
            if streak >= STREAK and self._sound - self.avoided - {bad}
        }
        return len(self.avoided) > before
