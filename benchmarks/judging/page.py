"""The page of curves: mean regret over time, a chart for each group."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

#: So small a regret is no longer told from none, where the axis is logarithmic.
_LEAST = 1e-3


def write_page(data: dict[str, Any], file: Path) -> None:
    """Write the page of a verdict.

    Args:
        data: As of `Verdict.to_data`.
        file: Is overwritten.
    """
    import vl_convert

    points = data["points_of_a_curve"]
    parts = []
    for group, found in data["groups"].items():
        last = found["marks"][-1]
        values = [
            {
                "at": last * (i + 1) / points,
                "regret": max(regret, _LEAST),
                "searcher": name,
                "whose": whose,
            }
            for name, one in found["searchers"].items()
            for whose in ["optuna's" if one["peer"] else "ours"]
            for i, regret in enumerate(one["curve"])
        ]
        order = list(found["searchers"])
        spec = {
            "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
            "data": {"values": values},
            "mark": {"type": "line", "interpolate": "step-after"},
            "width": 760,
            "height": 420,
            "encoding": {
                "x": {"field": "at", "type": "quantitative", "title": found["unit"]},
                "y": {
                    "field": "regret",
                    "type": "quantitative",
                    "title": "mean normalised regret",
                    "scale": {"type": "log"},
                },
                "color": {
                    "field": "searcher",
                    "type": "nominal",
                    "sort": order,
                    "scale": {"scheme": "tableau20"},
                },
                "strokeDash": {"field": "whose", "type": "nominal", "sort": ["ours", "optuna's"]},
            },
        }
        parts.append(f"<h2>{html.escape(group)}</h2>\n{vl_convert.vegalite_to_svg(spec)}")
    head = '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Searchers, judged</title>'
    style = "<style>body{font-family:sans-serif;margin:2em auto;max-width:64em}</style>"
    file.write_text(
        f"{head}\n{style}\n<h1>Searchers, judged</h1>\n" + "\n".join(parts) + "\n</html>\n"
    )
