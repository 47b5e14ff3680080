"""A result as a notebook shows it, and in one line.

Nothing but plain elements, without colours of their own: a notebook may be light or dark, and what
it shows may be sanitized.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from html import escape
from typing import Any

from dotrain.core.trial import Trial
from dotrain.report.ablation import (
    largest_effect,
    study_cells,
    study_lines,
    study_notes,
    study_title,
)
from dotrain.report.result import result_lines
from dotrain.report.summary import ranked
from dotrain.report.text import number_text, params_text

#: How many of the best trials are shown, and how many hyperparameters have a column.
_TOP = 5
_MAX_PARAMS = 12


def to_line(result: Mapping[str, Any]) -> str:
    """Return how a run went in a line.

    Args:
        result: What ``--json`` prints.
    """
    return f"{result['status']}: {_found(result)}; {result['run_dir']}"


def to_html(result: Mapping[str, Any], trials: Sequence[Trial]) -> str:
    """Return how a run went as a piece of HTML: verdict, table, failures.

    Args:
        result: What ``--json`` prints.
        trials: All trials.
    """
    if "components" in result:
        title, table = study_title(result), study_cells(result)
        lines = [*study_notes(result), *study_lines(result)]
    else:
        valued = ranked(trials, result["direction"])
        best = result["best"]
        title = f"best parameters: {params_text(best['params'])}" if best else ""
        table = _best_cells(result["metric"], valued[:_TOP])
        lines = result_lines(result, len(valued))
    lines += [f"{gate['gate']}: {gate['message']}" for gate in result.get("gates", ())]
    parts = [
        f"<p><strong>{escape(_found(result))}</strong></p>",
        f"<p>{escape(title)}</p>" if title else "",
        _table(table, ("trial", "state", "component", "verdict")) if len(table) > 1 else "",
        '<div style="white-space: pre-wrap; font-size: 90%">',
        escape("\n".join(lines)),
        "</div>",
    ]
    return f'<div style="overflow-x: auto">{"".join(parts)}</div>'


def _found(result: Mapping[str, Any]) -> str:
    total = result["trials"]["total"]
    if "components" in result:
        compared = any(component["n"] for component in result["components"])
        nothing = "no component is worth anything" if compared else "nothing can be compared yet"
        return largest_effect(result) or nothing
    best = result["best"]
    if best is None:
        return f"no result from {total} trial{'' if total == 1 else 's'}"
    of = f", the best of {total} trials" if total > 1 else ""
    return f"{result['metric']} {number_text(best['value'])} ({best['trial_id']}){of}"


def _best_cells(metric: str, trials: Sequence[Trial]) -> list[list[str]]:
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))[:_MAX_PARAMS]
    rows = [["trial", metric, "state", "steps", *names]]
    for trial in trials:
        params = (trial.params.get(name) for name in names)
        value = number_text(trial.final_metric or 0.0)
        cells = [trial.trial_id, value, str(trial.state), str(trial.steps_run)]
        rows.append([*cells, *(_cell(param) for param in params)])
    return rows


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return number_text(value, 4) if isinstance(value, float) else str(value)


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
