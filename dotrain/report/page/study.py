"""An ablation study on the page: the forest plot, the table, and the value of every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, NamedTuple

from dotrain.report.ablation import study_cells, study_notes
from dotrain.report.forest import sides, span_of
from dotrain.report.page.charts import BAD, GOOD, QUIET, TEXT, Spec, axis, chart, tooltip
from dotrain.report.page.text import listed, number
from dotrain.results import ArmResult, RunResult, StudyResult
from dotrain.results.numbers import p_text

#: A verdict as the legend has it: its word, shape and colour.
_LOOKS = {
    "helps": ("helps", "circle", GOOD),
    "hurts": ("hurts", "square", BAD),
    "": ("not distinguishable from noise", "diamond", QUIET),
}
#: What the headings of the table stand for in the result.
_FIELDS = {
    "mean ±": "mean",
    "difference [95 % CI]": "delta",
    "p": "p",
    "p (Holm)": "p_holm",
    "n": "n",
    "params": "params",
    "s/step": "seconds_per_step",
    "s/run": "seconds_per_run",
    "verdict": "verdict",
}
_ROW_PX = 44


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        text: What is shown.
        path: Where its value stands in the result, or ``""``.
        value: This value.
    """

    text: str
    path: str = ""
    value: Any = None


@dataclass(frozen=True)
class StudyPage:
    """What a page shows of a study.

    Attributes:
        spec: The forest plot; None if nothing can be compared.
        data: The datasets it uses, by name.
        sides: What it means to lie left and right of zero.
        headings: Of the table.
        rows: The baseline, then the components.
        notes: How to read it.
        seeds: The seeds.
        values: Each arm's name and its values, in the order of the seeds; ``-`` is none.
    """

    spec: Spec | None
    data: dict[str, list[Any]]
    sides: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str]
    seeds: Sequence[int]
    values: Sequence[tuple[str, Sequence[Cell]]]


@singledispatch
def study_page(result: RunResult) -> StudyPage | None:
    """Return what a page shows of a study; of another run nothing."""
    return None


@study_page.register
def _(result: StudyResult) -> StudyPage:
    headings, *rows = study_cells(result)
    compared = [component for component in result.components if component.effect]
    arms = [("baseline", result.baseline)]
    arms += [(f"components/{i}", arm) for i, arm in enumerate(result.components)]
    return StudyPage(
        spec=_spec(result, compared) if compared else None,
        data={"forest": [_point(result, component) for component in compared]},
        sides=sides(result),
        headings=headings,
        rows=[
            [_cell(text, heading, path, arm) for text, heading in zip(row, headings, strict=True)]
            for row, (path, arm) in zip(rows, arms, strict=True)
        ],
        notes=study_notes(result),
        seeds=result.seeds,
        values=[
            (arm.name, [Cell(number(v), f"{path}/values/{i}", v) for i, v in enumerate(arm.values)])
            for path, arm in arms
        ],
    )


def effects_text(result: StudyResult) -> str:
    """Return in a clause which components matter, as far as the study can tell."""
    with_ = "with it" if result.adds else "without it"
    parts = []
    for verdict in ("helps", "hurts"):
        found = [component for component in result.components if component.verdict == verdict]
        if found:
            names = [f"{c.name} ({result.numbers.change(c)} {with_})" for c in found]
            parts.append(f"{listed(names)} {verdict if len(found) == 1 else verdict[:-1]}")
    names = [c.name for c in result.components if c.effect and not _look(c)]
    if names:
        others = listed(names) if len(names) <= 4 else f"the other {len(names)} components"
        if len(names) > 4 and not parts:
            others = f"the {len(names)} components"
        parts.append(f"of {others} no effect can be told from noise")
    if not parts:
        return "nothing can be compared yet"
    return f"for {result.metric}, {'; '.join(parts)}"


def _cell(text: str, heading: str, path: str, arm: ArmResult) -> Cell:
    field, told = _FIELDS.get(heading, ""), arm.to_json()
    if not text or field not in told:
        return Cell(text)
    return Cell(text, f"{path}/{field}", told[field])


def _look(component: ArmResult) -> str:
    return component.verdict if component.verdict in _LOOKS else ""


def _point(result: StudyResult, component: ArmResult) -> dict[str, Any]:
    effect = component.effect
    assert effect is not None
    low, high = effect.delta_ci95 or (effect.delta, effect.delta)
    return {
        "name": component.name,
        "delta": effect.delta,
        "low": low,
        "high": high,
        "look": _LOOKS[_look(component)][0],
        "difference": result.numbers.difference(component),
        "p_holm": p_text(component.p_holm),
        "n": component.n,
        "verdict": component.verdict,
    }


def _spec(result: StudyResult, compared: Sequence[ArmResult]) -> Spec:
    used = [look for verdict, look in _LOOKS.items() if verdict in map(_look, compared)]
    x: Spec = {
        **axis(f"difference in {result.metric}", span_of(result.components)),
        "axis": {"grid": False, "tickCount": 6, "labelOverlap": True},
    }
    y = {"field": "name", "type": "ordinal", "sort": None, "axis": None}
    names = [look[0] for look in used]

    def scale(part: int) -> Spec:
        scale = {"domain": names, "range": [look[part] for look in used]}
        return {"field": "look", "type": "nominal", "title": None, "scale": scale}

    tips = tooltip(
        name="component", difference="difference", p_holm="p (Holm)", n="pairs", verdict="verdict"
    )
    layers: list[Spec] = [
        {"mark": {"type": "rule", "color": TEXT}, "encoding": {"x": {"datum": 0, **x}}},
        {
            "mark": {"type": "rule", "strokeWidth": 2, "clip": True},
            "encoding": {
                "x": {"field": "low", **x},
                "x2": {"field": "high"},
                "y": y,
                "color": scale(2),
                "tooltip": tips,
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {
                "x": {"field": "delta", **x},
                "y": y,
                "color": scale(2),
                "shape": scale(1),
                "tooltip": tips,
            },
        },
        {
            # Above its interval, not left of it: a phone has no room there.
            "mark": {"type": "text", "align": "left", "dy": -13, "fontSize": 12, "limit": 300},
            "encoding": {"x": {"value": 2}, "y": y, "text": {"field": "name"}},
        },
    ]
    return chart(_ROW_PX * len(compared), data={"name": "forest"}, layer=layers)
