"""The table of a study for papers and programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from typing import Any

from dotrain.ablation.study import BASELINE
from dotrain.report.ablation.numbers import NOTHING
from dotrain.report.ablation.rows import (
    VERDICT,
    filled_columns,
    named_arms,
    short_verdict,
    study_cells,
    study_notes,
    study_rows,
    study_title,
    unclear,
)


def to_markdown(result: Mapping[str, Any]) -> str:
    """Return the table in Markdown, with the notes below it.

    Args:
        result: What `summarize_study` returned.
    """
    lines = []
    for number, row in enumerate(study_cells(result)):
        lines.append("| " + " | ".join(_markdown(cell) for cell in row) + " |")
        if number == 0:
            rules = ("---" if i in (0, len(row) - 1) else "---:" for i in range(len(row)))
            lines.append("| " + " | ".join(rules) + " |")
    notes = [f"- {_markdown(note)}" for note in study_notes(result)]
    return "\n".join([f"**{_markdown(study_title(result))}**", "", *lines, "", *notes]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(text.split()))


def to_latex(result: Mapping[str, Any]) -> str:
    """Return the table in LaTeX, for a paper that loads ``booktabs``.

    Args:
        result: What `summarize_study` returned.
    """
    rows = [row._replace(verdict=short_verdict(row.verdict)) for row in study_rows(result)]
    rows[0] = rows[0]._replace(verdict="verdict")
    kept = filled_columns(rows)
    lines = []
    for number, row in enumerate(rows):
        numeric = {i for i in kept if number and i not in (0, VERDICT)}
        cells = (_latex_number(row[i]) if i in numeric else _latex(row[i]) for i in kept)
        lines.append("    " + " & ".join(cells) + r" \\")
        if number == 0:
            lines.append(r"    \midrule")
    notes = "; ".join([study_title(result), *study_notes(result), *unclear(result)])
    spec = "".join("l" if i in (0, VERDICT) else "r" for i in kept)
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_latex(notes)}.}}",
            rf"  \begin{{tabular}}{{{spec}}}",
            r"    \toprule",
            *lines,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


#: What TeX would take for a command, and what its old fonts have another sign for.
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "±": r"$\pm$",
    **{char: "\\" + char for char in "#$%&_"},
}


def _latex(text: str) -> str:
    # A row may begin with a bracket, which the \\ before it would take for its option.
    return re.sub(r"^\[", "{[}", "".join(_LATEX.get(char, char) for char in " ".join(text.split())))


def _latex_number(text: str) -> str:
    if text in ("", NOTHING):
        return text.replace(NOTHING, "--")
    text = re.sub(r"(\d),(\d)", r"\1{,}\2", text)
    text = re.sub(r"e([-+])0*(\d+)", lambda m: rf"\cdot 10^{{{int(m[1] + m[2])}}}", text)
    return f"${text.replace('±', chr(92) + 'pm')}$"


def to_csv(result: Mapping[str, Any]) -> str:
    """Return every value in a row of its own: arm, kind, seed_index, seed, value, state, marks.

    Args:
        result: What `summarize_study` returned.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("arm", "kind", "seed_index", "seed", "value", "state", "marks"))
    for name, arm in named_arms(result):
        kind = arm.get("kind", BASELINE)
        runs = zip(result["seeds"], arm["values"], arm["states"], arm["marks"], strict=True)
        for index, (seed, value, state, marks) in enumerate(runs):
            shown = "" if value is None else repr(value)
            writer.writerow((name, kind, index, seed, shown, state or "", marks))
    return out.getvalue()
