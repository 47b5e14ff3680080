"""What all charts share: their look, and the range of an axis that outliers must not stretch.

Specs are Vega-Lite, as plain dicts. Colours are CSS variables of the page, which the browser
resolves: so a chart turns dark with the page, and light on paper.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, TypeVar

from dotrain.core.trial import Trial

Spec = dict[str, Any]
_T = TypeVar("_T")

#: The most trials that a chart draws, and the most points of all their curves.
MOST_TRIALS = 1000
MOST_POINTS = 40_000

ACCENT, QUIET, TEXT = "var(--accent)", "var(--mark)", "var(--text)"
GOOD, BAD = "var(--good)", "var(--bad)"
_MUTED, _RULE = "var(--muted)", "var(--rule)"
_FONT = "system-ui, sans-serif"

_WORDS = {"labelFont": _FONT, "titleFont": _FONT, "labelColor": _MUTED, "titleColor": _MUTED}
CONFIG: Spec = {
    # Each chart has a label and a sentence of its own; one for every point would drown both.
    "aria": False,
    "background": "transparent",
    "font": _FONT,
    "view": {"stroke": None},
    "axis": {
        **_WORDS,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "domainColor": _RULE,
        "tickColor": _RULE,
        "gridColor": _RULE,
        "labelLimit": 110,
    },
    "legend": {
        **_WORDS,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "orient": "top",
        "labelLimit": 220,
        "columns": 3,
    },
    "text": {"font": _FONT, "fill": TEXT},
}


def chart(height: int, **parts: Any) -> Spec:
    """Return a spec that is as wide as its place on the page.

    Args:
        height: Of the plot, in pixels.
        **parts: Keys of a Vega-Lite spec.
    """
    return {"width": "container", "height": height, **parts}


def tooltip(**titles: str) -> list[Spec]:
    """Return a tooltip of some fields, each with its title; a field that is absent is left out.

    Titles are fixed words: Vega's tooltip draws a picture for a field that is called ``image``.
    """
    return [{"field": field, "title": title} for field, title in titles.items()]


def thin_out(items: Sequence[_T], most: int) -> list[_T]:
    """Return at most `most` items, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    step = (len(items) - 1) / (most - 1)
    return [items[round(index * step)] for index in range(most)]


def drawn(trials: Sequence[Trial], picked: Collection[str]) -> list[Trial]:
    """Return the trials that a chart draws: evenly spread if there are too many, with those picked, by their ids."""
    chosen = thin_out(trials, MOST_TRIALS)
    missing = set(picked) - {trial.trial_id for trial in chosen}
    return [*chosen, *(trial for trial in trials if trial.trial_id in missing)]


def sensible_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the range that most values lie in: all of them, where none is far off.

    A loss that ran away is a thousand times as far from the others as they are from each other;
    an axis that reached it would show nothing else. What lies within three times the distance of
    the 5 % and the 95 % quantiles from the nearer one is shown.

    Args:
        values: At least one.
    """
    ordered = sorted(values)
    last = len(ordered) - 1
    low, high = ordered[math.floor(0.05 * last)], ordered[math.ceil(0.95 * last)]
    room = 3.0 * (high - low)
    if room > 0.0:
        ordered = [value for value in ordered if low - room <= value <= high + room]
    return ordered[0], ordered[-1]


def outside(values: Sequence[float], shown: tuple[float, float]) -> int:
    """Return how many values an axis leaves out."""
    return sum(not shown[0] <= value <= shown[1] for value in values)


def axis(title: str, shown: tuple[float, float], **scale: Any) -> Spec:
    """Return the encoding of numbers along an axis.

    Args:
        title: Of the axis.
        shown: The lowest and the highest number; given, for a layer without a point has none.
        **scale: Keys of a Vega-Lite scale.
    """
    low, high = shown
    if low == high:
        room = abs(low) / 10 or 1.0
        low, high = low - room, high + room
    return {
        "type": "quantitative",
        "title": title,
        "scale": {"domain": [low, high], "nice": False, "padding": 8, **scale},
    }
