"""The table of a study on a terminal or in a pipe."""

from __future__ import annotations

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from dotrain.report.ablation.rows import (
    VERDICT,
    StudyRow,
    filled_columns,
    study_lines,
    study_notes,
    study_rows,
    study_title,
    unclear,
)
from dotrain.report.text import make_console
from dotrain.results import StudyResult

#: What the whole table takes, with names of usual length.
_FULL_WIDTH = 100
#: A pipe has no width of its own; there the table may take what it needs.
_PIPE_WIDTH = 200
_STYLES = {"helps": "green", "hurts": "red"}


def study_table(result: StudyResult, *, narrow: bool = False) -> Table:
    """Return the table for a terminal; the component with the largest loss is bold.

    Args:
        result: The result.
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
    largest = result.largest
    for row, arm in zip(rows[1:], result.shown, strict=True):
        short = arm.short_verdict
        cells = [Text(cell) for cell in row._replace(verdict=short)]
        cells[VERDICT].stylize(_STYLES.get(short, ""))
        table.add_row(*(cells[i] for i in kept), style="bold" if arm is largest else "")
    return table


def print_study(result: StudyResult) -> None:
    """Print the table to stdout, what failed, how to read p, and where the run lies."""
    console = make_console()
    if not console.is_terminal:
        console.width = max(_PIPE_WIDTH, console.width)
    console.print(study_title(result), soft_wrap=True)
    console.print(study_table(result, narrow=console.width < _FULL_WIDTH))
    notes = [*([result.headline] if result.largest else []), *study_notes(result), *unclear(result)]
    for line in [*notes, *study_lines(result)]:
        console.print(line, soft_wrap=True)
