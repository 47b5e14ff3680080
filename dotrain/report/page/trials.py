"""The table of trials on the page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dotrain.core.policy import Direction
from dotrain.core.trial import Trial
from dotrain.report.page.charts import MOST_TRIALS
from dotrain.report.page.curves import why
from dotrain.report.page.text import number, plain
from dotrain.results import ranked
from dotrain.results.trials import trial_rows


class Cell(NamedTuple):
    """A cell: what is shown, and what it is sorted by."""

    text: str
    value: Any


class Row(NamedTuple):
    """A trial."""

    trial_id: str
    state: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class TrialTable:
    """All trials, or the best of very many.

    Attributes:
        columns: The headings.
        words: Which of them, counted from 0, hold texts.
        rows: A row for each trial.
        states: Number of rows by state.
        total: How many trials there are.
    """

    columns: Sequence[str]
    words: Sequence[int]
    rows: Sequence[Row]
    states: Mapping[str, int]
    total: int


def table_of(
    trials: Sequence[Trial],
    metrics: Mapping[str, Direction],
    front: Collection[Trial] | None = None,
) -> TrialTable:
    """Return the table; columns that tell nothing are left out.

    Args:
        trials: All of them; of very many the best are shown, of several metrics the front first.
        metrics: What the values are, and which are better.
        front: The trials on the front, where there are several metrics.
    """
    shown = list(trials)
    if front is not None:
        rest = [trial for trial in trials if trial not in front]
        shown = [*front, *rest][:MOST_TRIALS]
    elif len(shown) > MOST_TRIALS:
        valued = ranked(trials, next(iter(metrics.values())))
        chosen = {trial.trial_id for trial in valued}
        rest = [trial for trial in trials if trial.trial_id not in chosen]
        shown = [*valued, *rest][:MOST_TRIALS]
    flat = trial_rows(shown, metrics, front)
    reasons = [why(trial) for trial in shown]
    columns = [name for name in (flat[0] if flat else ()) if _tells(name, flat)]
    rows = []
    for trial, row, reason in zip(shown, flat, reasons, strict=True):
        cells = [_cell(row[name]) for name in columns]
        rows.append(Row(trial.trial_id, row["state"], [*cells, Cell(reason, reason)]))
    states: dict[str, int] = {}
    for found in rows:
        states[found.state] = states.get(found.state, 0) + 1
    words = [
        index
        for index in range(len(columns) + 1)
        if any(isinstance(row.cells[index].value, str) for row in rows)
    ]
    return TrialTable([*columns, "why"], words, rows, states, len(trials))


def _tells(name: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    # The reason of a failure is in the last column.
    if name == "error":
        return False
    values = {row[name] if row[name].__hash__ else str(row[name]) for row in rows}
    return values != {None} and not (name == "attempts" and values == {1})


def _cell(value: Any) -> Cell:
    if value is None:
        return Cell("", None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Cell(number(value), value)
    return Cell(plain(value), plain(value))
