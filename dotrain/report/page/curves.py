"""The curves of the trials: a line each, the best one picked out, and how each went on or ended."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dotrain.core.trial import Trial, TrialState
from dotrain.report.page.charts import (
    ACCENT,
    BAD,
    GOOD,
    MOST_POINTS,
    QUIET,
    Spec,
    axis,
    chart,
    drawn,
    outside,
    sensible_range,
    thin_out,
    tooltip,
)
from dotrain.report.page.text import rounded
from dotrain.results.text import params_text

#: What became of a trial at a point of its curve: shape and colour.
MARKS = {
    "finished": ("circle", QUIET),
    "promoted": ("triangle-up", GOOD),
    "stopped": ("square", BAD),
    "diverged": ("triangle-down", BAD),
    "failed": ("cross", BAD),
    "unfinished": ("diamond", QUIET),
}
#: The last step is this many times the first budget: then the axis shows ratios, not distances.
_WIDE = 9


@dataclass(frozen=True)
class Curves:
    """The chart and what is said below it.

    Attributes:
        spec: Of the chart; None if no trial has reported a value on the way.
        data: The datasets it uses, by name.
        trials: Trials with a curve.
        shown: How many of them are drawn.
        points: Their reports.
        outside: Reports that lie beyond the axis.
    """

    spec: Spec | None
    data: dict[str, list[Any]]
    trials: int
    shown: int
    points: int
    outside: int


def curves_of(
    trials: Sequence[Trial],
    metric: str,
    is_picked: Callable[[Trial], bool],
    drawn_always: Collection[str],
) -> Curves:
    """Return the chart of all curves.

    Args:
        trials: All of them.
        metric: What the values are.
        is_picked: Whether a trial's line stands out.
        drawn_always: The ids of trials that are drawn however many there are.
    """
    reporting = [trial for trial in trials if trial.step_history]
    chosen = drawn(reporting, drawn_always)
    values = [value for trial in chosen for value in trial.metric_history]
    shown = sensible_range(values) if values else (0.0, 0.0)
    most = max(20, MOST_POINTS // max(1, len(chosen)))
    lines = [_line(trial, most, is_picked(trial)) for trial in chosen]
    data = {"lines": lines, "marks": [mark for trial in chosen for mark in _marks(trial)]}
    return Curves(
        _spec(chosen, metric, shown) if chosen else None,
        data if chosen else {},
        len(reporting),
        len(chosen),
        len(values),
        outside(values, shown),
    )


def fate(trial: Trial) -> str:
    """Return what has become of a trial, as a key of `MARKS`; never ``promoted``."""
    return str(trial.state) if trial.state.ended else "unfinished"


def why(trial: Trial) -> str:
    """Return the reason for what has become of a trial, for people."""
    if trial.error is not None:
        return trial.error.message
    if trial.divergence:
        return trial.divergence
    if trial.state is TrialState.STOPPED:
        told = [line.what for line in trial.story if line.state is TrialState.STOPPING]
        return told[-1] if told else "it stopped by itself"
    if trial.state is TrialState.WAITING:
        return trial.story[-1].what
    return trial.reason


def _line(trial: Trial, most: int, picked: bool) -> dict[str, Any]:
    points = thin_out(list(zip(trial.step_history, trial.metric_history, strict=True)), most)
    return {
        "trial": trial.trial_id,
        "state": str(trial.state),
        "picked": picked,
        "value": trial.final_metric,
        "why": why(trial),
        "params": params_text(trial.varied),
        "step": [step for step, _ in points],
        "y": [rounded(value) for _, value in points],
    }


def _marks(trial: Trial) -> Iterator[dict[str, Any]]:
    """Yield a mark for each promotion, and one for the end."""
    reasons = _promotions(trial)
    for result, reason in zip(trial.results, reasons, strict=False):
        if result.budget is not None:
            at = bisect_left(trial.step_history, result.budget) - 1
            if at >= 0:
                yield _mark(trial, at, "promoted", reason)
    yield _mark(trial, len(trial.step_history) - 1, fate(trial), why(trial))


def _promotions(trial: Trial) -> list[str]:
    """Return the reason of each promotion, in order."""
    pairs = zip(trial.story, trial.story[1:], strict=False)
    return [line.what for before, line in pairs if before.state is TrialState.FINISHED]


def _mark(trial: Trial, at: int, mark: str, reason: str) -> dict[str, Any]:
    return {
        "trial": trial.trial_id,
        "mark": mark,
        "why": reason,
        "params": params_text(trial.varied),
        "at": trial.step_history[at],
        "value": rounded(trial.metric_history[at]),
    }


def _spec(trials: Sequence[Trial], metric: str, shown: tuple[float, float]) -> Spec:
    tips = tooltip(trial="trial", state="state", value="value", why="why", params="parameters")
    mark_tips = tooltip(
        trial="trial", mark="here", at="step", value="value", why="why", params="parameters"
    )
    x, y = _step_axis(trials), axis(metric, shown)

    def lines(chosen: str, **look: Any) -> Spec:
        return {
            "data": {"name": "lines"},
            "transform": [{"filter": chosen}, {"flatten": ["step", "y"]}],
            "mark": {"type": "line", "clip": True, "interpolate": "linear", **look},
            "encoding": {
                "x": {"field": "step", **x},
                "y": {"field": "y", **y},
                "detail": {"field": "trial"},
                "tooltip": tips,
            },
        }

    used = [mark for mark in MARKS if any(m["mark"] == mark for t in trials for m in _marks(t))]
    size = 45 if len(trials) <= 100 else 22
    marks: Spec = {
        "data": {"name": "marks"},
        "mark": {"type": "point", "filled": True, "size": size, "clip": True, "opacity": 0.9},
        "encoding": {
            "x": {"field": "at", **x},
            "y": {"field": "value", **y},
            "tooltip": mark_tips,
            "shape": _scale(used, 0),
            "color": _scale(used, 1),
        },
    }
    opacity = max(0.08, min(0.55, 40 / len(trials)))
    layers = [
        lines("!datum.picked", color=QUIET, strokeWidth=1.2, opacity=opacity),
        marks,
        lines("datum.picked", color=ACCENT, strokeWidth=2.5),
    ]
    return chart(320, layer=layers)


def _scale(used: Sequence[str], part: int) -> Spec:
    scale = {"domain": list(used), "range": [MARKS[mark][part] for mark in used]}
    return {"field": "mark", "type": "nominal", "scale": scale, "title": None}


def _step_axis(trials: Sequence[Trial]) -> Spec:
    """Return the encoding of steps: with rungs far apart, evenly spaced rungs."""
    budgets = sorted({r.budget for t in trials for r in t.results if r.budget is not None})
    first, last = (pick(t.step_history[end] for t in trials) for pick, end in ((min, 0), (max, -1)))
    if len(budgets) >= 3 and last + 1 >= _WIDE * budgets[0]:
        ends = [budget - 1 for budget in budgets]
        far = max(last, ends[-1])
        return {**axis("step", (0, far), type="symlog"), "axis": {"values": ends}}
    return {
        **axis("step", (first, max(last, first + 1))),
        "axis": {"tickMinStep": 1, "grid": False},
    }
