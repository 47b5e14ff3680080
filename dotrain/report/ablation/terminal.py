"""The table of a study on a terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from dotrain.report.ablation.rows import (
    VERDICT,
    StudyRow,
    filled_columns,
    largest_component,
    largest_effect,
    short_verdict,
    study_lines,
    study_notes,
    study_rows,
    study_title,
    unclear,
)
from dotrain.report.text import make_console

#: What the whole table takes, with names of usual length.
_FULL_WIDTH = 100
#: A pipe has no width of its own; there the table may take what it needs.
_PIPE_WIDTH = 200
_STYLES = {"helps": "green", "hurts": "red"}


def study_table(result: Mapping[str, Any], *, narrow: bool = False) -> Table:
    """Return the table for a terminal; the component with the largest loss is bold.

    Args:
        result: What `summarize_study` returned.
        narrow: Leave out p before its adjustment, parameters and times, to fit 80 columns.
    """
    rows = study_rows(result)
    dropped = {"p", "params", "seconds"} if narrow else set()
    kept = [index for index in filled_columns(rows) if StudyRow._fields[index] not in dropped]
    # Cells are texts: a name may look like markup, or, as ":a:" does, like an emoji.
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for index in kept:
        heading = Text(rows[0][index].replace(" (", "\n(").replace(" [", "\n["))
        if index == 0:
            table.add_column(heading, overflow="fold")
        else:
            justify: JustifyMethod = "left" if index == VERDICT else "right"
            table.add_column(heading, no_wrap=True, justify=justify)
    largest = largest_component(result)
    for row in rows[1:]:
        short = short_verdict(row.verdict)
        cells = [Text(cell) for cell in row._replace(verdict=short)]
        cells[VERDICT].stylize(_STYLES.get(short, ""))
        bold = largest is not None and row is not rows[1] and row.component == largest["name"]
        table.add_row(*(cells[index] for index in kept), style="bold" if bold else "")
    return table


def print_study(result: Mapping[str, Any]) -> None:
    """Print the table to stdout, what failed, how to read p, and where the run lies.

    Args:
        result: What `summarize_study` returned.
    """
    console = make_console()
    if not console.is_terminal:
        console.width = max(_PIPE_WIDTH, console.width)
    console.print(study_title(result), soft_wrap=True)
    console.print(study_table(result, narrow=console.width < _FULL_WIDTH))
    effect = largest_effect(result)
    notes = [*([effect] if effect else []), *study_notes(result), *unclear(result)]
    for line in [*notes, *study_lines(result)]:
        console.print(line, soft_wrap=True)
