"""The table of a study for papers and programs."""

from __future__ import annotations

import csv
import io
import re

from dotrain.report.ablation.rows import (
    VERDICT,
    filled_columns,
    study_cells,
    study_notes,
    study_rows,
    study_title,
    unclear,
)
from dotrain.results import RunResult, StudyResult
from dotrain.results.marks import marks_text
from dotrain.results.numbers import NOTHING


def to_text(result: RunResult, form: str) -> str:
    """Return the table of a study.

    Args:
        result: That of a study.
        form: ``md``, ``latex`` or ``csv``.
    """
    assert isinstance(result, StudyResult)
    return {"md": to_markdown, "latex": to_latex, "csv": to_csv}[form](result)


def to_markdown(result: StudyResult) -> str:
    """Return the table in Markdown, with the notes below it."""
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


def to_latex(result: StudyResult) -> str:
    """Return the table in LaTeX, for a paper that loads ``booktabs``."""
    heads, *others = study_rows(result)
    pairs = zip(others, result.shown, strict=True)
    rows = [heads, *(row._replace(verdict=arm.short_verdict) for row, arm in pairs)]
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


def to_csv(result: StudyResult) -> str:
    """Return every value in a row of its own: arm, kind, seed_index, seed, value, state, marks."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("arm", "kind", "seed_index", "seed", "value", "state", "marks"))
    for arm in result.shown:
        runs = zip(arm.seeds, arm.values, arm.runs, strict=True)
        for index, (seed, value, run) in enumerate(runs):
            told = ("", "") if run is None else (str(run.state), marks_text(run))
            shown = "" if value is None else repr(value)
            writer.writerow((arm.name, arm.kind, index, seed, shown, *told))
    return out.getvalue()
