"""Slices: each hyperparameter against the metric, a point for each trial."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dotrain.core.trial import Trial
from dotrain.report.page.charts import (
    ACCENT,
    QUIET,
    Spec,
    axis,
    chart,
    drawn,
    outside,
    sensible_range,
    tooltip,
)
from dotrain.report.page.parameters import Parameter
from dotrain.report.page.text import rounded
from dotrain.results.text import params_text

#: More than these are not drawn.
_MOST_SLICES = 16


@dataclass(frozen=True)
class Slices:
    """The charts, and what is said of them.

    Attributes:
        specs: A chart for each hyperparameter, in their order.
        parameters: These.
        data: The datasets they use, by name.
        trials: Trials with a value.
        shown: How many of them are drawn.
        outside: How many of those lie beyond the axis.
        by_steps: Whether the marks tell how long a trial was trained.
        left_out: Hyperparameters without a chart, for want of room.
    """

    specs: Sequence[Spec]
    parameters: Sequence[Parameter]
    data: dict[str, list[Any]]
    trials: int
    shown: int
    outside: int
    by_steps: bool
    left_out: Sequence[str]


def slices_of(
    trials: Sequence[Trial],
    parameters: Sequence[Parameter],
    metric: str,
    picked: Collection[str],
) -> Slices | None:
    """Return the charts, or None if there is nothing to compare.

    Args:
        trials: All of them; those without a value are not drawn.
        parameters: What was searched.
        metric: What the values are.
        picked: The ids of the best trial, or of those on the front.
    """
    valued = [trial for trial in trials if trial.final_metric is not None]
    if len(valued) < 2 or not parameters:
        return None
    kept, rest = parameters[:_MOST_SLICES], parameters[_MOST_SLICES:]
    chosen = drawn(valued, picked)
    values = [trial.final_metric or 0.0 for trial in chosen]
    shown = sensible_range(values)
    budgets = {trial.results[-1].budget for trial in chosen if trial.results}
    by_steps = len(budgets) > 1
    rows = [_row(trial, kept, trial.trial_id in picked) for trial in chosen]
    return Slices(
        specs=[
            _spec(_x_axis(index, parameter, rows), axis(metric, shown), by_steps)
            for index, parameter in enumerate(kept)
        ],
        parameters=kept,
        data={"slices": rows},
        trials=len(valued),
        shown=len(chosen),
        outside=outside(values, shown),
        by_steps=by_steps,
        left_out=[parameter.name for parameter in rest],
    )


def _row(trial: Trial, parameters: Sequence[Parameter], best: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "trial": trial.trial_id,
        "value": rounded(trial.final_metric or 0.0),
        "steps": trial.results[-1].budget if trial.results else None,
        "state": str(trial.state),
        "best": best,
        "params": params_text(trial.params),
        # Spreads the points of a category; the same on every page of the run.
        "spread": trial.number * 0.618034 % 1.0,
    }
    for index, parameter in enumerate(parameters):
        # Numbered, for a name may hold what Vega takes for a path.
        if parameter.name in trial.params:
            row[f"p{index}"] = parameter.shown(trial.params[parameter.name])
    return row


def _x_axis(index: int, parameter: Parameter, rows: Sequence[Mapping[str, Any]]) -> Spec:
    """Return the encodings that place a point along its hyperparameter."""
    field = f"p{index}"
    if parameter.categories:
        labels = {"labelAngle": -30 if len(parameter.categories) > 3 else 0, "labelOverlap": True}
        x = {
            "field": field,
            "title": parameter.name,
            "type": "ordinal",
            "sort": list(parameter.categories),
            "axis": labels,
        }
        return {"x": x, "xOffset": {"field": "spread", "type": "quantitative"}}
    values = [row[field] for row in rows if field in row]
    low, high = min(values), max(values)
    look: Spec = {"grid": False, "tickCount": 5, "labelOverlap": True}
    if not parameter.log or low <= 0:
        return {"x": {"field": field, **axis(parameter.name, (low, high)), "axis": look}}
    powers = [10.0**n for n in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    # Less than two powers of ten tell nothing of the scale between them.
    look |= {"values": powers, "format": "~g"} if len(powers) > 1 else {}
    x = axis(parameter.name, (low, high), type="log")
    return {"x": {"field": field, **x, "axis": look}}


def _spec(x: Spec, y: Spec, by_steps: bool) -> Spec:
    look: Spec = {"opacity": {"value": 0.6}}
    if by_steps:
        steps = {"field": "steps", "type": "ordinal", "legend": None}
        look = {
            "opacity": {**steps, "scale": {"range": [0.5, 1.0]}},
            "size": {**steps, "scale": {"range": [18, 75]}},
        }
    encoding = {
        **x,
        "y": {"field": "value", **y},
        "tooltip": tooltip(
            trial="trial", value="value", steps="steps", state="state", params="parameters"
        ),
    }
    point = {"type": "point", "filled": True, "clip": True}
    best = {"type": "point", "shape": "diamond", "filled": True, "size": 150, "color": ACCENT}
    return chart(
        190,
        data={"name": "slices"},
        transform=[{"filter": f"isDefined(datum.{x['x']['field']})"}],
        layer=[
            {
                "transform": [{"filter": "!datum.best"}],
                "mark": {**point, "size": 26, "color": QUIET},
                "encoding": {**encoding, **look},
            },
            {"transform": [{"filter": "datum.best"}], "mark": best, "encoding": encoding},
        ],
    )
