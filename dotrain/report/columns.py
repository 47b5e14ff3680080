"""Tables that fit a terminal: what is narrowed, what is left out, and nothing is cut that matters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from dotrain.report.text import clip

_GAP = 2


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: Its heading.
        cells: Its text, row by row.
        rank: The higher, the sooner it is left out where there is no room; 0 never is.
        least: How narrow it may get; None keeps every cell whole.
        pad: How wide it is at least, so that a table that changes stays in place.
        right: Whether it is aligned to the right, as numbers are.
    """

    name: str
    cells: Sequence[str]
    rank: int = 0
    least: int | None = None
    pad: int = 0
    right: bool = False

    @property
    def full_width(self) -> int:
        """What it takes to show every cell whole."""
        return max(self.pad, cell_len(self.name), *(cell_len(cell) for cell in self.cells), 0)

    @property
    def least_width(self) -> int:
        """What it takes at least."""
        return self.full_width if self.least is None else min(self.least, self.full_width)


class Fitted(NamedTuple):
    """A table that fits.

    Attributes:
        lines: The headings, then the rows; no trailing blanks.
        left_out: The names of the columns there was no room for.
    """

    lines: list[str]
    left_out: list[str]


def fit(columns: Sequence[Column], width: int | None) -> Fitted:
    """Lay out a table.

    Args:
        columns: From left to right.
        width: Cells in a line; None is as many as it takes.

    Returns:
        The lines: none is longer than `width`, unless a column of rank 0 alone is.
    """
    kept = list(columns)
    while width is not None and _total(c.least_width for c in kept) > width:
        index = max(range(len(kept)), key=lambda k: (kept[k].rank, k))
        if kept[index].rank == 0:
            break
        del kept[index]
    widths = {id(c): c.full_width for c in kept}
    if width is not None:
        spare = width - _total(c.least_width for c in kept)
        for column in sorted(kept, key=lambda c: c.rank):
            more = max(0, min(spare, column.full_width - column.least_width))
            widths[id(column)] = column.least_width + more
            spare -= more
    rows = [[c.name for c in kept], *zip(*(c.cells for c in kept), strict=True)]
    lines = [
        (" " * _GAP)
        .join(_cell(text, c, widths[id(c)]) for text, c in zip(row, kept, strict=True))
        .rstrip()
        for row in rows
    ]
    names = {id(c) for c in kept}
    return Fitted(lines, [c.name for c in columns if id(c) not in names])


def _total(widths: Iterable[int]) -> int:
    sizes = list(widths)
    return sum(sizes) + _GAP * (len(sizes) - 1)


def _cell(text: str, column: Column, width: int) -> str:
    text = clip(text, width)
    return " " * (width - cell_len(text)) + text if column.right else set_cell_size(text, width)


def pack(parts: Sequence[str], width: int, separator: str = " | ") -> list[str]:
    """Return short texts one after the other, in as few lines as they fit in.

    A part that is longer than a line is cut.
    """
    lines: list[str] = []
    for part in parts:
        if lines and cell_len(lines[-1]) + cell_len(separator) + cell_len(part) <= width:
            lines[-1] += separator + part
        else:
            lines.append(clip(part, width))
    return lines
