"""The table of trials of a run, from its journal alone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotrain.core.trial import TrialState
from dotrain.errors import UsageError, did_you_mean
from dotrain.report.columns import Column, fit
from dotrain.report.reading import read_run, run_notes
from dotrain.report.result import fixed_lines, print_lines, width_of
from dotrain.report.stdout import print_data, print_json
from dotrain.report.text import make_console
from dotrain.results.text import number_text, printable
from dotrain.results.trials import metric_columns
from dotrain.space import value_text

Row = dict[str, Any]

#: Which columns go first where there is no room: the higher, the sooner. Every other is a
#: hyperparameter, or a number beside the metric.
_RANKS = {
    **{"state": 1, "steps": 3, "marks": 4, "error": 5, "budget": 6, "seconds": 7, "attempts": 8},
    **{"host": 9, "peak_mb": 10, "cpu_s": 11},
}
_OTHER_RANK = 2
#: How narrow the text of an error may get.
_ERROR_WIDTH = 20


@dataclass(frozen=True)
class TrialTable:
    """A row for each trial.

    Attributes:
        rows: All with the same columns.
        metrics: The columns of the metrics.
        status: How the run stands.
        hparams: What was the same in every trial.
        notes: What must be known of the run and its values, a line each.
    """

    rows: list[Row]
    metrics: Sequence[str]
    status: str
    hparams: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


def read_table(
    path: Path,
    *,
    sort: str = "",
    reverse: bool = False,
    state: str = "",
    top: int | None = None,
) -> TrialTable:
    """Return a row for each trial.

    Args:
        path: The run directory.
        sort: A column; a metric sorts the best first, every other column the smallest; with a
            minus before it, the other way round. By default the trials are in the order in which
            they were sampled, of several metrics with those of the Pareto front first.
        reverse: Turn the order round; what has no value stays last.
        state: Only trials in this state.
        top: Only the first rows.

    Raises:
        UsageError: If `path` is no run directory, `sort` no column or `state` no state.
        JournalError: If the journal is damaged or newer than this dotrain.
    """
    states = [str(known) for known in TrialState]
    if state and state not in states:
        raise UsageError(f"there is no state '{state}'{did_you_mean(state, states)}")
    run = read_run(path)
    result = run.result
    rows, columns = result.rows, metric_columns(result.metrics)
    if sort:
        largest_first = [columns[name] for name, way in result.metrics.items() if way == "max"]
        rows = _sorted(rows, sort, reverse, largest_first)
    elif reverse:
        rows.reverse()
    if state:
        rows = [row for row in rows if row["state"] == state]
    metrics = list(columns.values())
    return TrialTable(rows[:top], metrics, run.status, result.hparams, run_notes(run))


def _sorted(rows: list[Row], sort: str, reverse: bool, largest_first: Collection[str]) -> list[Row]:
    columns = list(rows[0]) if rows else [sort]
    if sort.startswith("-") and sort not in columns:
        sort, reverse = sort[1:], not reverse
    if rows and sort not in columns:
        raise UsageError(f"there is no column '{sort}'{did_you_mean(sort, columns)}")
    descending = (sort in largest_first) != reverse
    known = [row for row in rows if row.get(sort) is not None]
    rest = [row for row in rows if row.get(sort) is None]
    known.sort(key=lambda row: _sort_key(row[sort]), reverse=descending)
    return known + rest


def _sort_key(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool | int | float):
        return 0, value
    return (1, value) if isinstance(value, str) else (2, str(value))


def print_table(table: TrialTable, form: str = "") -> None:
    """Print the table to stdout.

    Args:
        table: What `read_table` returned.
        form: ``csv``, ``json``, or ``""`` for people.
    """
    if form == "json":
        print_json(table.rows)
    elif form == "csv":
        print_data(_to_csv(table.rows))
    else:
        console = make_console()
        print_lines(table_lines(table, width_of(console)), console)


def _to_csv(rows: Sequence[Row]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _csv_cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _csv_cell(value: Any) -> Any:
    """Return a value as CSV holds it; a list or a mapping as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def table_lines(table: TrialTable, width: int | None) -> list[str]:
    """Return the table for people.

    Args:
        table: What `read_table` returned.
        width: Cells in a line; None is as many as it takes.
    """
    rows = table.rows
    if not rows:
        return [f"no trial to show (the run is {table.status})"]
    columns = [_column(name, rows, table.metrics) for name in rows[0]]
    shown = [column for column in columns if any(column.cells)]
    lines, left_out = fit(shown, width)
    if left_out:
        lines.append(
            f"no room for: {', '.join(left_out)} (a wider terminal, --csv or --json has them)"
        )
    return [*fixed_lines(table.hparams), *lines, *map(printable, table.notes)]


def _column(name: str, rows: Sequence[Row], metrics: Collection[str]) -> Column:
    values = [row[name] for row in rows]
    if name == "front" and len(metrics) > 1:
        return Column(name, ["*" if value else "" for value in values])
    rank = 0 if name in ("trial", *metrics) else _RANKS.get(name, _OTHER_RANK)
    return Column(
        printable(name),
        [_cell(value) for value in values],
        rank=rank,
        least=_ERROR_WIDTH if name == "error" else None,
        right=all(value is None or isinstance(value, int | float) for value in values),
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return number_text(value, 5) if isinstance(value, float) else printable(value_text(value))
