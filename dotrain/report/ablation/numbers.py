"""Numbers of a study as people read them: rounded to what their intervals allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

#: What a cell shows where nothing is known.
NOTHING = "-"


class Numbers:
    """Writes the metric and its differences, with as many digits as the noise leaves sense in."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        """Choose the digits: two of the usual half width of an interval.

        Args:
            result: What `summarize_study` returned.
        """
        components = result["components"]
        halves = [_half(c["delta_ci95"]) for c in components if c["delta_ci95"]]
        deltas = [abs(c["delta"]) for c in components if c["delta"] is not None]
        means = [abs(a["mean"]) for a in (result["baseline"], *components) if a["mean"] is not None]
        # What rounding has left of an interval without noise is none.
        least = 1e-9 * max(means, default=0.0)
        kinds = ([size for size in kind if size > least] for kind in (halves, deltas, means))
        sizes = next((kind for kind in kinds if kind), [1.0])
        size = sorted(sizes)[len(sizes) // 2]
        self._form = f".{max(0, 1 - math.floor(math.log10(size)))}f"
        if not 1e-5 <= size < 1e5:
            self._form = ".3g"

    def value(self, value: float | None) -> str:
        """Return a value of the metric."""
        return NOTHING if value is None else format(value, self._form)

    def mean(self, arm: Mapping[str, Any]) -> str:
        """Return the mean of an arm with its 95 % interval's half width."""
        half = f" ± {self.value(_half(arm['ci95']))}" if arm["ci95"] else ""
        return self.value(arm["mean"]) + half

    def difference(self, component: Mapping[str, Any]) -> str:
        """Return the difference from the baseline with its 95 % interval."""
        if component["delta"] is None:
            return NOTHING
        text = format(component["delta"], "+" + self._form)
        if component["delta_ci95"]:
            low, high = (format(end, "+" + self._form) for end in component["delta_ci95"])
            text += f" [{low}, {high}]"
        return text


def p_text(p: float | None) -> str:
    """Return a p-value with two digits."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def _half(interval: Sequence[float]) -> float:
    return (interval[1] - interval[0]) / 2
