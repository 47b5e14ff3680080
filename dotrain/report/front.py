"""The Pareto front for terminals: what a search by several metrics has found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dotrain.core.trial import Trial
from dotrain.report.columns import Column, fit
from dotrain.results import FrontResult
from dotrain.results.marks import marks_text
from dotrain.results.text import count_text, number_text, params_text, printable
from dotrain.results.trials import values_of

#: How many trials of the front are shown.
TOP = 10


def front_lines(result: FrontResult, width: int | None) -> list[str]:
    """Return the table of the front, the best by the main metric first; none if there is none.

    Args:
        result: Of a search by several metrics.
        width: Cells in a line; None is as many as it takes.
    """
    trials = result.front[:TOP]
    if not trials:
        return []
    params = [params_text(trial.params) for trial in trials]
    marks = [marks_text(trial) for trial in trials]
    columns = [
        Column("trial", [trial.trial_id for trial in trials]),
        *_value_columns(trials, list(result.metrics)),
        Column("state", [trial.state for trial in trials], rank=3),
        *([Column("marks", marks, rank=4)] if any(marks) else []),
        Column("steps", [str(trial.steps_run) for trial in trials], rank=2, right=True),
        Column("parameters", params, rank=1, least=20),
    ]
    lines, _ = fit(columns, width)
    return [printable(result.headline), *lines]


def _value_columns(trials: Sequence[Trial], metrics: Sequence[str]) -> Iterator[Column]:
    for name in metrics:
        values = [values_of(trial, metrics)[name] for trial in trials]
        yield Column(printable(name), [number_text(value or 0.0) for value in values], least=8)


def front_note(result: FrontResult) -> list[str]:
    """Return the line that tells that the front has more trials than its table, if it has."""
    size = len(result.front)
    return [f"the first {TOP} of {count_text(size, 'trial')} on the front"] if size > TOP else []
