"""The table of an ablation study for people, papers and programs."""

from dotrain.report.ablation.export import to_csv, to_latex, to_markdown, to_text
from dotrain.report.ablation.rows import study_cells, study_lines, study_notes, study_title
from dotrain.report.ablation.terminal import print_study, study_table

__all__ = [
    "print_study",
    "study_cells",
    "study_lines",
    "study_notes",
    "study_table",
    "study_title",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_text",
]
