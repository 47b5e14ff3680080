"""The best value over time, among all values as they came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dotrain.core.policy import Direction
from dotrain.core.trial import Trial
from dotrain.report.page.best import Value, best_over_time, values_over_time
from dotrain.report.page.charts import (
    ACCENT,
    MOST_TRIALS,
    QUIET,
    Spec,
    axis,
    chart,
    sensible_range,
    thin_out,
    tooltip,
)
from dotrain.report.page.text import rounded
from dotrain.report.text import duration


@dataclass(frozen=True)
class Timeline:
    """The chart, and what is said below it.

    Attributes:
        spec: Of the chart.
        data: The datasets it uses, by name.
        first: The best value when there was only one.
        best: Each value that was the best, since when.
    """

    spec: Spec
    data: dict[str, list[Any]]
    first: Value
    best: Sequence[Value]

    @property
    def last(self) -> Value:
        """The best value now, and since when."""
        return self.best[-1]


def timeline_of(
    trials: Sequence[Trial], metric: str, direction: Direction, elapsed_s: float
) -> Timeline | None:
    """Return the chart, or None if there are no two values.

    Args:
        trials: All of them.
        metric: What the values are.
        direction: ``max`` or ``min``.
        elapsed_s: How long the run has taken so far.
    """
    values = values_over_time(trials)
    if len(values) < 2:
        return None
    best = best_over_time(trials, direction)
    unit_s, unit = _unit(elapsed_s)
    end = Value(max(elapsed_s, best[-1].time_s), best[-1].value, best[-1].trial_id)
    data = {
        "values": [_point(value, unit_s) for value in thin_out(values, MOST_TRIALS)],
        "best": [_point(value, unit_s) for value in [*best, end]],
    }
    shown = sensible_range([value.value for value in values])
    x: Spec = {
        "field": "x",
        **axis(f"time since the start, in {unit}", (0.0, end.time_s / unit_s)),
        "axis": {"grid": False, "tickCount": 8, "labelOverlap": True},
    }
    encoding = {
        "x": x,
        "y": {"field": "value", **axis(metric, shown)},
        "tooltip": tooltip(trial="trial", value="value", since="at"),
    }
    layers: list[Spec] = [
        {
            "data": {"name": "values"},
            "mark": {"type": "point", "filled": True, "size": 14, "color": QUIET, "clip": True},
            "encoding": encoding,
        },
        {
            "data": {"name": "best"},
            "mark": {
                "type": "line",
                "interpolate": "step-after",
                "color": ACCENT,
                "strokeWidth": 2.5,
                "clip": True,
            },
            "encoding": {key: encoding[key] for key in ("x", "y")},
        },
    ]
    return Timeline(chart(220, layer=layers), data, values[0], best)


def _point(value: Value, unit_s: float) -> dict[str, Any]:
    return {
        "trial": value.trial_id,
        "value": rounded(value.value),
        "x": rounded(value.time_s / unit_s),
        "since": duration(value.time_s),
    }


def _unit(elapsed_s: float) -> tuple[float, str]:
    if elapsed_s < 120:
        return 1.0, "seconds"
    return (60.0, "minutes") if elapsed_s < 7200 else (3600.0, "hours")
