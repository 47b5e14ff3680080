"""The forest plot of a study: what each component is worth, with its interval.

matplotlib is used through its objects, never through ``pyplot``, whose state the user's own plots
share.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any, NamedTuple

from rich.cells import cell_len

from dotrain.ablation.study import BASELINE
from dotrain.core.instructions import RunStatus
from dotrain.results import ArmResult, RunResult, StudyResult
from dotrain.results.numbers import p_text


class _Look(NamedTuple):
    label: str
    color: str
    marker: str
    #: What the marker is filled with.
    face: str

    @property
    def options(self) -> dict[str, Any]:
        """The same in matplotlib's words."""
        mark = {"marker": self.marker, "markerfacecolor": self.face, "markersize": 7}
        return {"color": self.color, "linewidth": 1.8, "markeredgewidth": 1.5, **mark}


#: Colours that those who see few colours tell apart (Okabe and Ito, 2008); shapes for the rest.
_LOOKS = {
    "helps": _Look("helps", "#0072B2", "o", "#0072B2"),
    "hurts": _Look("hurts", "#D55E00", "s", "#D55E00"),
    "": _Look("not distinguishable from noise", "#666666", "D", "white"),
}
_QUIET = "#666666"

#: A row's height; above the rows and below them headings, axis and legend.
_ROW_IN, _TOP_IN, _BOTTOM_IN = 0.32, 0.85, 1.15
#: The widths: of a name's character, the intervals, and the columns of numbers.
_CHARACTER_IN, _AXES_IN, _NUMBERS_IN = 0.08, 4.4, 3.6


@singledispatch
def draw_at_end(result: RunResult) -> None:
    """Draw what belongs into the run directory of a run that has finished, if anything does."""


@draw_at_end.register
def _(result: StudyResult) -> None:
    if result.status is RunStatus.FINISHED:
        draw_forest(result, result.run_dir / "forest")


def draw_forest(result: StudyResult, path_without_suffix: Path) -> list[Path]:
    """Draw the paired differences of a study, as PNG and as SVG.

    The names in the SVG are text, so they can be searched and copied.

    Args:
        result: The result.
        path_without_suffix: Where to; ``.png`` and ``.svg`` are appended.

    Returns:
        The two files.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    paths = [path_without_suffix.with_name(path_without_suffix.name + s) for s in (".png", ".svg")]
    # A salt and no date make equal results equal files.
    settings = {"svg.fonttype": "none", "svg.hashsalt": "dotrain"}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # A name in a script that the font lacks is a box in the PNG, and no reason to complain.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure()
        _Forest(figure, result).draw()
        figure.savefig(paths[0], dpi=150)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


class _Forest:
    """One plot: names on the left, intervals in the middle, numbers on the right."""

    def __init__(self, figure: Any, result: StudyResult) -> None:
        """Lay out the figure; it grows with the number and the length of the names."""
        self.figure = figure
        self.result = result
        self.components = result.components
        longest = max((cell_len(component.name) for component in self.components), default=0)
        left = 0.3 + max(1.2, _CHARACTER_IN * longest)
        rows = _ROW_IN * max(1, len(self.components))
        self.width = left + _AXES_IN + _NUMBERS_IN
        self.height = _TOP_IN + rows + _BOTTOM_IN
        figure.set_size_inches(self.width, self.height)
        across, up = 1 / self.width, 1 / self.height
        self.axes = figure.add_axes((left * across, _BOTTOM_IN * up, _AXES_IN * across, rows * up))

    def draw(self) -> None:
        """Draw everything."""
        self._rows()
        self._numbers()
        self._frame()
        self._words()

    def _rows(self) -> None:
        self.axes.axvline(0.0, color="black", linewidth=1, zorder=1)
        for row, component in enumerate(self.components):
            if row % 2 == 0:
                self.axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", zorder=0)
            if component.effect is None:
                continue
            look = _LOOKS.get(component.verdict, _LOOKS[""])
            ends = component.effect.delta_ci95 or ()
            self.axes.plot(ends, [row] * len(ends), **{**look.options, "marker": ""}, zorder=2)
            self.axes.plot(component.effect.delta, row, **look.options, zorder=3)

    def _numbers(self) -> None:
        numbers = self.result.numbers
        columns: tuple[tuple[float, str, Callable[[ArmResult], str]], ...] = (
            (2.05, "difference [95 % CI]", numbers.difference),
            (2.9, "p (Holm)", lambda component: p_text(component.p_holm)),
            (3.35, "n", lambda component: str(component.n)),
        )
        # Across in the figure's width, down in rows.
        from matplotlib.transforms import blended_transform_factory

        across = blended_transform_factory(self.figure.transFigure, self.axes.transData)
        style = {"transform": across, "ha": "right", "va": "center_baseline", "fontsize": 9}
        for offset, heading, text in columns:
            x = 1 - (_NUMBERS_IN - offset) / self.width
            self.axes.text(x, -0.95, heading, color=_QUIET, **style)
            for row, component in enumerate(self.components):
                if component.effect:
                    self.axes.text(x, row, text(component), **style)
                elif offset == columns[0][0]:
                    why = component.verdict
                    self.axes.text(x, row, why, style="italic", color=_QUIET, **style)

    def _frame(self) -> None:
        axes = self.axes
        axes.set_ylim(max(1, len(self.components)) - 0.5, -0.5)
        axes.set_yticks(range(len(self.components)))
        # A "$" in a name is a dollar sign, not the beginning of a formula.
        names = [component.name for component in self.components]
        axes.set_yticklabels(names, parse_math=False, fontsize=9)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
        for side in ("left", "right", "top"):
            axes.spines[side].set_visible(False)
        low, high = span_of(self.components)
        axes.set_xlim(low, high)
        if not any(component.effect for component in self.components):
            axes.set_xticks([])

    def _words(self) -> None:
        from matplotlib.lines import Line2D

        result, figure, height = self.result, self.figure, self.height
        middle = 1 - (_NUMBERS_IN + _AXES_IN / 2) / self.width
        edge = 0.2 / self.width
        metric, count = result.metric, len(result.seeds)
        what = "adding" if result.adds else "leaving out"
        title = f"Effect of {what} each component on {metric}"
        style = {"transform": figure.transFigure, "parse_math": False}
        figure.text(edge, 1 - 0.28 / height, title, fontsize=12, weight="bold", **style)
        mean = result.numbers.mean(result.baseline)
        about = (
            f"{BASELINE}: {mean}, {count} {'seed' if count == 1 else 'seeds'}; bars: 95 % intervals, "
            "each by itself; colours and marks: by p (Holm)"
        )
        figure.text(edge, 1 - 0.52 / height, about, fontsize=9, color=_QUIET, **style)

        self.axes.set_xlabel(f"{metric}, arm minus baseline", fontsize=9, parse_math=False)
        place = {"ha": "center", "va": "center", "fontsize": 9, "style": "italic"}
        figure.text(middle, 0.52 / height, sides(result), color=_QUIET, **place, **style)
        used = {c.verdict if c.verdict in _LOOKS else "" for c in self.components if c.n}
        handles = [
            Line2D([], [], label=look.label, **look.options)
            for name, look in _LOOKS.items()
            if name in used
        ]
        if handles:
            figure.legend(
                handles=handles,
                loc="center",
                bbox_to_anchor=(middle, 0.2 / height),
                ncols=len(handles),
                frameon=False,
                fontsize=9,
            )


def span_of(components: Sequence[ArmResult]) -> tuple[float, float]:
    """Return what the axis shows: zero, every difference, and the intervals.

    The interval of two pairs may be a hundred times as wide as all others; it runs out of the
    plot then.

    Args:
        components: Of the study.
    """
    effects = [component.effect for component in components if component.effect]
    deltas = [effect.delta for effect in effects]
    ends = [end for effect in effects for end in effect.delta_ci95 or ()]
    largest = max((abs(delta) for delta in deltas), default=0.0)
    sizes = sorted(abs(end) for end in ends)
    limit = 3 * max(largest, sizes[len(sizes) // 2]) if sizes else largest
    shown = [0.0, *deltas, *(max(-limit, min(limit, end)) for end in ends)]
    low, high = min(shown), max(shown)
    room = 0.06 * (high - low) or 1.0
    # Both sides have a meaning, so both are to be seen.
    least = 0.2 * (high - low)
    return min(low - room, -least), max(high + room, least)


def sides(result: StudyResult) -> str:
    """Return what it means to lie left and right of zero."""
    what = "adding it" if result.adds else "leaving it out"
    left, right = ("worse", "better") if result.direction == "max" else ("better", "worse")
    return f"left of zero: {what} makes it {left}; right of zero: {right}"
