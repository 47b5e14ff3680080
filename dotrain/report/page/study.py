"""An ablation study on the page: the forest plot, the table, and the value of every run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dotrain.ablation.study import BASELINE
from dotrain.report.ablation import Numbers, p_text, study_cells, study_notes
from dotrain.report.forest import sides, span_of
from dotrain.report.page.charts import BAD, GOOD, QUIET, TEXT, Spec, axis, chart, tooltip
from dotrain.report.page.text import listed, number

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


def study_page(result: Mapping[str, Any]) -> StudyPage:
    """Return what a page shows of a study.

    Args:
        result: What `dotrain.report.ablation.summarize_study` returned.
    """
    headings, *rows = study_cells(result)
    compared = [c for c in result["components"] if c["delta"] is not None]
    arms = [("baseline", BASELINE, result["baseline"])]
    arms += [(f"components/{i}", c["name"], c) for i, c in enumerate(result["components"])]
    return StudyPage(
        spec=_spec(result, compared) if compared else None,
        data={"forest": [_point(result, component) for component in compared]},
        sides=sides(result),
        headings=headings,
        rows=[
            [_cell(text, heading, path, arm) for text, heading in zip(row, headings, strict=True)]
            for row, (path, _, arm) in zip(rows, arms, strict=True)
        ],
        notes=study_notes(result),
        seeds=result["seeds"],
        values=[
            (name, [Cell(number(v), f"{path}/values/{i}", v) for i, v in enumerate(arm["values"])])
            for path, name, arm in arms
        ],
    )


def effects_text(result: Mapping[str, Any]) -> str:
    """Return in a clause which components matter, as far as the study can tell."""
    numbers, metric = Numbers(result), result["metric"]
    parts = []
    for verdict in ("helps", "hurts"):
        found = [c for c in result["components"] if c["verdict"] == verdict]
        if found:
            with_ = "with it" if result["adds"] else "without it"
            names = [f"{c['name']} ({numbers.difference(c).split(' ')[0]} {with_})" for c in found]
            parts.append(f"{listed(names)} {verdict if len(found) == 1 else verdict[:-1]}")
    rest = [c for c in result["components"] if c["n"] and c["verdict"] not in ("helps", "hurts")]
    if rest:
        names = [c["name"] for c in rest]
        others = listed(names) if len(names) <= 4 else f"the other {len(names)} components"
        if len(names) > 4 and not parts:
            others = f"the {len(names)} components"
        parts.append(f"of {others} no effect can be told from noise")
    if not parts:
        return "nothing can be compared yet"
    return f"for {metric}, {'; '.join(parts)}"


def _cell(text: str, heading: str, path: str, arm: Mapping[str, Any]) -> Cell:
    field = _FIELDS.get(heading, "")
    if not text or field not in arm:
        return Cell(text)
    return Cell(text, f"{path}/{field}", arm[field])


def _look(component: Mapping[str, Any]) -> str:
    verdict = component["verdict"]
    return verdict if verdict in _LOOKS else ""


def _point(result: Mapping[str, Any], component: Mapping[str, Any]) -> dict[str, Any]:
    low, high = component["delta_ci95"] or (component["delta"], component["delta"])
    return {
        "name": component["name"],
        "delta": component["delta"],
        "low": low,
        "high": high,
        "look": _LOOKS[_look(component)][0],
        "difference": Numbers(result).difference(component),
        "p_holm": p_text(component["p_holm"]),
        "n": component["n"],
        "verdict": component["verdict"],
    }


def _spec(result: Mapping[str, Any], compared: Sequence[Mapping[str, Any]]) -> Spec:
    used = [look for verdict, look in _LOOKS.items() if verdict in map(_look, compared)]
    x: Spec = {
        **axis(f"difference in {result['metric']}", span_of(result["components"])),
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
