"""Numbers of a study as people read them: rounded to what their intervals allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from dotrain.results.arms import ArmResult

#: What a cell shows where nothing is known.
NOTHING = "-"


@final
class Numbers:
    """Writes the metric and its differences, with as many digits as the noise leaves sense in."""

    def __init__(self, arms: Sequence[ArmResult]) -> None:
        """Choose the digits: two of the usual half width of an interval."""
        effects = [arm.effect for arm in arms if arm.effect]
        halves = [_half(effect.delta_ci95) for effect in effects if effect.delta_ci95]
        deltas = [abs(effect.delta) for effect in effects]
        means = [abs(m) for arm in arms if (m := arm.mean_ci95[0]) is not None]
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

    def mean(self, arm: ArmResult) -> str:
        """Return the mean of an arm with its 95 % interval's half width."""
        mean, ci95 = arm.mean_ci95
        return self.value(mean) + (f" ± {self.value(_half(ci95))}" if ci95 else "")

    def change(self, component: ArmResult) -> str:
        """Return the difference from the baseline."""
        effect = component.effect
        return NOTHING if effect is None else format(effect.delta, "+" + self._form)

    def difference(self, component: ArmResult) -> str:
        """Return the same with its 95 % interval."""
        text = self.change(component)
        if component.effect and component.effect.delta_ci95:
            low, high = (format(end, "+" + self._form) for end in component.effect.delta_ci95)
            text += f" [{low}, {high}]"
        return text


def p_text(p: float | None) -> str:
    """Return a p-value with two digits."""
    if p is None:
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def _half(interval: Sequence[float]) -> float:
    return (interval[1] - interval[0]) / 2
