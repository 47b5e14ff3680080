"""A result as a notebook shows it.

Nothing but plain elements, without colours of their own: a notebook may be light or dark, and what
it shows may be sanitized.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import singledispatch
from html import escape
from typing import Any

from dotrain.core.trial import Trial
from dotrain.report.ablation import study_cells, study_lines, study_notes, study_title
from dotrain.report.front import TOP, front_note
from dotrain.report.result import best_note, result_lines
from dotrain.results import FrontResult, RunResult, SearchResult, StudyResult
from dotrain.results.text import number_text, params_text
from dotrain.results.trials import values_of
from dotrain.space import value_text

#: How many of the best trials are shown, and how many hyperparameters have a column.
_TOP = 5
_MAX_PARAMS = 12


def to_html(result: RunResult) -> str:
    """Return how a run went as a piece of HTML: verdict, table, failures."""
    title, table, lines = _told(result)
    lines += [f"{gate.gate}: {gate.message}" for gate in result.gates]
    parts = [
        f"<p><strong>{escape(result.headline)}</strong></p>",
        f"<p>{escape(title)}</p>" if title else "",
        _table(table, ("trial", "state", "component", "verdict")) if len(table) > 1 else "",
        '<div style="white-space: pre-wrap; font-size: 90%">',
        escape("\n".join(lines)),
        "</div>",
    ]
    return f'<div style="overflow-x: auto">{"".join(parts)}</div>'


@singledispatch
def _told(result: RunResult) -> tuple[str, list[list[str]], list[str]]:
    """Return what stands above the table, the table, and the lines below it."""
    raise NotImplementedError


@_told.register
def _(result: StudyResult) -> tuple[str, list[list[str]], list[str]]:
    return study_title(result), study_cells(result), [*study_notes(result), *study_lines(result)]


@_told.register
def _(result: SearchResult) -> tuple[str, list[list[str]], list[str]]:
    best = result.best
    title = f"best parameters: {params_text(best.params)}" if best else ""
    table = _best_cells([result.metric], result.ranked[:_TOP])
    return title, table, result_lines(result, best_note(result))


@_told.register
def _(result: FrontResult) -> tuple[str, list[list[str]], list[str]]:
    table = _best_cells(list(result.metrics), result.front[:TOP])
    return "", table, result_lines(result, front_note(result))


def _best_cells(metrics: Sequence[str], trials: Sequence[Trial]) -> list[list[str]]:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))[:_MAX_PARAMS]
    rows = [["trial", *metrics, "state", "steps", *names]]
    for trial in trials:
        params = (trial.params.get(name) for name in names)
        values = (number_text(value or 0.0) for value in values_of(trial, metrics).values())
        cells = [trial.trial_id, *values, str(trial.state), str(trial.steps_run)]
        rows.append([*cells, *(_cell(param) for param in params)])
    return rows


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return number_text(value, 4) if isinstance(value, float) else value_text(value)


def _table(rows: Sequence[Sequence[str]], left: Container[str]) -> str:
    """Return a table; the columns with these headings hold words, the others numbers."""
    sides = ["left" if name in left else "right" for name in rows[0]]
    lines = [
        "".join(
            f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>'
            for text, side in zip(row, sides, strict=True)
        )
        for tag, row in zip(["th", *["td"] * len(rows)], rows, strict=False)
    ]
    head, *body = (f"<tr>{line}</tr>" for line in lines)
    style = "color: inherit; margin: 0.5em 0"
    return f'<table style="{style}"><thead>{head}</thead><tbody>{"".join(body)}</tbody></table>'
