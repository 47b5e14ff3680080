"""The result of an ablation study, and its table for people, papers and programs."""

from dotrain.report.ablation.export import to_csv, to_latex, to_markdown
from dotrain.report.ablation.numbers import Numbers, p_text
from dotrain.report.ablation.result import summarize_study
from dotrain.report.ablation.rows import (
    largest_effect,
    study_cells,
    study_lines,
    study_notes,
    study_title,
)
from dotrain.report.ablation.terminal import print_study, study_table

__all__ = [
    "Numbers",
    "largest_effect",
    "p_text",
    "print_study",
    "study_cells",
    "study_lines",
    "study_notes",
    "study_table",
    "study_title",
    "summarize_study",
    "to_csv",
    "to_latex",
    "to_markdown",
]
