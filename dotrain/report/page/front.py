"""The Pareto front of a search by several metrics on the page: a chart for each two of them, and the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import combinations
from typing import Any

from dotrain.core.marks import Mark
from dotrain.core.policy import Direction
from dotrain.core.trial import Trial
from dotrain.report.page.charts import (
    ACCENT,
    BAD,
    QUIET,
    Spec,
    axis,
    chart,
    drawn,
    outside,
    sensible_range,
    tooltip,
)
from dotrain.report.page.text import rounded
from dotrain.results import FrontResult, RunResult
from dotrain.results.text import params_text
from dotrain.results.trials import values_text

#: Of more pairs than these only those with the main metric are drawn.
_MOST_PAIRS = 6
#: A longer title would push its chart aside.
_TITLE_PX = 230
#: Rows of the table.
_MOST_ROWS = 100


@dataclass(frozen=True)
class FrontPage:
    """What a page shows of a front.

    Attributes:
        specs: A chart for each pair of metrics.
        labels: What each shows, for whoever can't see it.
        data: The datasets they use, by name.
        trials: Those with a value of every metric.
        shown: How many of them are drawn.
        infeasible: How many of those are infeasible.
        outside: How many of those lie beyond an axis.
        rows: The trials of the table.
        total: How many are on the front.
        ids: Their ids.
    """

    specs: Sequence[Spec]
    labels: Sequence[str]
    data: dict[str, list[Any]]
    trials: int
    shown: int
    infeasible: int
    outside: int
    rows: Sequence[Trial]
    total: int
    ids: Sequence[str]


@singledispatch
def front_page(result: RunResult) -> FrontPage | None:
    """Return what a page shows of a front; of a run without one nothing."""
    return None


@front_page.register
def _(result: FrontResult) -> FrontPage:
    ids = [trial.trial_id for trial in result.front]
    valued = [trial for trial in result.trials if trial.values]
    chosen = drawn(valued, ids)
    names = list(result.metrics)
    pairs = list(combinations(range(len(names)), 2))
    if len(pairs) > _MOST_PAIRS:
        pairs = [pair for pair in pairs if pair[0] == 0]
    # One value has no course that a chart could show.
    pairs = pairs if len(valued) > 1 else []
    ranges = [_range_of(result.front, chosen, index) for index in range(len(names))]
    beyond = [
        trial
        for trial in chosen
        if any(outside([value], ends) for value, ends in zip(trial.values, ranges, strict=True))
    ]
    return FrontPage(
        specs=[_spec(result.metrics, pair, ranges) for pair in pairs],
        labels=[f"{names[x]} against {names[y]}, a point for each trial" for y, x in pairs],
        data={"front": [_row(result, trial) for trial in chosen]} if pairs else {},
        trials=len(valued),
        shown=len(chosen),
        infeasible=sum(Mark.INFEASIBLE in trial.notes for trial in chosen),
        outside=len(beyond),
        rows=result.front[:_MOST_ROWS],
        total=len(ids),
        ids=ids,
    )


def _range_of(front: Sequence[Trial], trials: Sequence[Trial], index: int) -> tuple[float, float]:
    """Return the range of an axis, which leaves out no trial of the front."""
    if not trials:
        return 0.0, 0.0
    low, high = sensible_range([trial.values[index] for trial in trials])
    values = [trial.values[index] for trial in front]
    return min([low, *values]), max([high, *values])


def _row(result: FrontResult, trial: Trial) -> dict[str, Any]:
    on_front = result.stands_out(trial)
    infeasible = Mark.INFEASIBLE in trial.notes
    return {
        "trial": trial.trial_id,
        "what": "front" if on_front else "infeasible" if infeasible else "dominated",
        "values": values_text(trial, result.metrics),
        "state": str(trial.state),
        "params": params_text(trial.params),
        # Numbered, for a name may hold what Vega takes for a path.
        **{f"m{index}": rounded(value) for index, value in enumerate(trial.values)},
    }


def _spec(
    metrics: Mapping[str, Direction], pair: tuple[int, int], ranges: Sequence[tuple[float, float]]
) -> Spec:
    """Return the chart of two metrics, the first of them upwards; of two in all, with the edge of what was reached."""
    names, ways = list(metrics), list(metrics.values())
    up, along = pair
    encoding = {
        "x": {"field": f"m{along}", **axis(_title(names[along], ways[along]), ranges[along])},
        "y": {"field": f"m{up}", **axis(_title(names[up], ways[up]), ranges[up])},
    }
    for place in encoding.values():
        place["axis"] = {"titleLimit": _TITLE_PX}
    tips = tooltip(trial="trial", values="values", what="is", state="state", params="parameters")
    point = {"type": "point", "clip": True}

    def points(what: str, **look: Any) -> Spec:
        return {
            "transform": [{"filter": f"datum.what == '{what}'"}],
            "mark": {**point, **look},
            "encoding": {**encoding, "tooltip": tips},
        }

    edge: Spec = {
        "transform": [{"filter": "datum.what == 'front'"}],
        "mark": {
            "type": "line",
            # What is as good as a point lies on its worse side along the axis.
            "interpolate": "step-after" if ways[along] == "min" else "step-before",
            "color": ACCENT,
            "strokeWidth": 1.5,
            "opacity": 0.6,
            "clip": True,
        },
        "encoding": {**encoding, "order": {"field": f"m{along}"}},
    }
    layers = [
        points("infeasible", shape="cross", filled=True, size=30, color=BAD, opacity=0.5),
        points("dominated", filled=True, size=26, color=QUIET, opacity=0.6),
        *([edge] if len(names) == 2 else []),
        points("front", shape="diamond", filled=True, size=110, color=ACCENT, opacity=1),
    ]
    height = 320 if len(names) == 2 else 240
    return chart(height, data={"name": "front"}, layer=layers)


def _title(name: str, way: Direction) -> str:
    return f"{name} ({'larger' if way == 'max' else 'smaller'} is better)"
