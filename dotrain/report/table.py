"""The table of trials of a run, from its journal alone."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dotrain.errors import UsageError, did_you_mean
from dotrain.report.reading import read_run, trial_rows

Row = dict[str, Any]


def read_table(path: Path, *, sort: str = "", top: int | None = None) -> list[Row]:
    """Return a row for each trial.

    Args:
        path: The run directory.
        sort: A column; the metric sorts the best first, every other column the smallest. By
            default the trials are in the order in which they were sampled.
        top: Only the first rows.

    Raises:
        UsageError: If `path` is no run directory or `sort` no column.
        JournalError: If the journal is damaged or newer than this dotrain.
    """
    run = read_run(path)
    metric, direction = run.header["metric"], run.header["direction"]
    rows = trial_rows(run.trials, metric)
    if sort:
        if rows and sort not in rows[0]:
            raise UsageError(f"there is no column '{sort}'{did_you_mean(sort, list(rows[0]))}")
        descending = sort == metric and direction == "max"
        known = [row for row in rows if row[sort] is not None]
        rest = [row for row in rows if row[sort] is None]
        known.sort(key=lambda row: _sort_key(row[sort]), reverse=descending)
        rows = known + rest
    return rows[:top]


def _sort_key(value: Any) -> tuple[bool, Any]:
    return (isinstance(value, str), value)


def print_table(rows: list[Row], form: str = "") -> None:
    """Print rows to stdout.

    Args:
        rows: What `read_table` returned.
        form: ``csv``, ``json``, or ``""`` for people.
    """
    if form == "json":
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    elif form == "csv":
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        _print_for_people(rows)


def _print_for_people(rows: list[Row]) -> None:
    columns = [name for name in (rows[0] if rows else ()) if any(r[name] is not None for r in rows)]
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(escape(_cell(row[name])) for name in columns))
    Console(highlight=False).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
