"""Text for a terminal: durations, what fits, spark lines; nothing in it is markup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import IO, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from dotrain.core.usage import megabytes

_BARS = "▁▂▃▄▅▆▇█"
_ASCII_BARS = "_.:-=+*#"


def make_console(file: IO[str] | None = None) -> Console:
    """Return a console that prints text as it is.

    A user's parameter or message may hold ``[red]`` or ``:a:``, which rich would take for markup
    and an emoji.

    Args:
        file: Where it prints; None is stdout.
    """
    return Console(file=file, markup=False, emoji=False, highlight=False)


def duration(seconds: float) -> str:
    """Return a time span for people: ``8.4 s``, ``3 min 20 s``, ``2 h 05 min``."""
    return f"{seconds:.1f} s" if seconds < 60 else whole_duration(seconds)


def whole_duration(seconds: float) -> str:
    """Return a time span in whole seconds: ``8 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{math.floor(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def usage_text(used: Mapping[str, Any]) -> str:
    """Return what attempts have used, given as in the journal: ``1,204 MB, 8.4 s of CPU``."""
    peak = used.get("peak_bytes")
    memory = [] if peak is None else [f"{megabytes(peak)} MB"]
    return ", ".join([*memory, f"{duration(used['cpu_s'])} of CPU"])


def rough_duration(seconds: float) -> str:
    """Return a time span with no more digits than an estimate deserves: ``25 s``, ``4 min``."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    minutes = 5 * round(seconds / 300)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def steps_text(steps: float) -> str:
    """Return a number of steps in words."""
    return f"{steps:g} step{'' if steps == 1 else 's'}"


def clip(text: str, width: int) -> str:
    """Return `text` in at most `width` cells; what is cut off is marked."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 1 else "…"[:width]


def spark_line(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """Return the course of some values, from their smallest to their largest, in `width` cells.

    Args:
        values: In order; if there are more than cells, each cell shows the mean of its share.
            What is no number is a ``?``.
        width: The most cells.
        ascii_only: For terminals that know no Unicode.
    """
    bars = _ASCII_BARS if ascii_only else _BARS
    if len(values) > width:
        edges = [len(values) * index // width for index in range(width + 1)]
        # Divided first: the sum of large numbers may be too large for one.
        values = [sum(value / (b - a) for value in values[a:b]) for a, b in pairwise(edges)]
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return "".join(_bar(bars, value, low, high) for value in values)


def _bar(bars: str, value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "?"
    if math.isinf(value):
        return bars[-1] if value > 0 else bars[0]
    # One that doesn't move is in the middle, neither at its best nor at its worst.
    if low == high:
        return bars[3]
    if math.isinf(high - low):
        value, low, high = value / 2, low / 2, high / 2
    return bars[min(7, int(8 * ((value - low) / (high - low))))]
