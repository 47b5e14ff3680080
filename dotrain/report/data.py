"""A declared table, as `dotrain data` shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dotrain.data.table import Table
from dotrain.report.columns import Column, fit
from dotrain.report.result import print_lines, width_of
from dotrain.report.text import make_console
from dotrain.results.text import count_text, printable

#: So many values of a category are named.
_NAMED = 4


def told_of(table: Table, head: int = 0) -> dict[str, Any]:
    """Return what is known of a table, as the journal has it.

    Args:
        table: The table, ready.
        head: How many of the first rows to train on are told, too.
    """
    told = table.to_json()
    if head:
        frame, labels = table.frame("train", table.columns)
        first = frame.head(head).assign(**{table.label: labels.head(head)})
        told["head"] = json.loads(first.to_json(orient="records", date_format="iso"))
    return told


def print_table(told: Mapping[str, Any]) -> None:
    """Print what `told_of` has returned."""
    rows = told["rows"]
    whole = sum(rows.values())
    label = told["label"]
    pairs = [
        ("source", f"{told['source']} ({told['kind']})"),
        ("digest", told["digest"]),
        ("rows", ", ".join(f"{count:,} {split}" for split, count in rows.items())),
        ("label", f"{label['name']}, {label['type']}: {_becomes(label, is_label=True)}"),
    ]
    lines = [f"{left:7} {printable(str(right))}" for left, right in pairs]
    print_lines([*lines, "", *_table(told["columns"], told["derive"], whole)])
    if "head" in told:
        print_lines(["", *_head(told["head"])])


def _table(columns: Sequence[Mapping[str, Any]], derive: Mapping[str, str], rows: int) -> list[str]:
    missing = [
        f"{one['missing']:,} ({one['missing'] / rows:.1%})" if one["missing"] else ""
        for one in columns
    ]
    cells = [
        Column("column", [printable(one["name"]) for one in columns]),
        Column("type", [one["type"] for one in columns]),
        Column("missing", missing, right=True),
        Column("becomes", [printable(_becomes(one)) for one in columns], least=20),
    ]
    if any(one.get("view") for one in columns):
        cells.append(Column("view", [one.get("view", "") for one in columns]))
    if any(one.get("derived_from") for one in columns):
        texts = [_lineage(one, derive) for one in columns]
        cells.append(Column("computed", [printable(text) for text in texts], least=20))
    return _fitted(cells)


def _becomes(column: Mapping[str, Any], *, is_label: bool = False) -> str:
    """Say what a column is as numbers."""
    if column.get("refusal"):
        return "nothing: it " + str(column["refusal"]).partition(":")[0]
    if column["kind"] == "number":
        return (
            "itself"
            if is_label
            else f"scaled: mean {column['mean']:.4g}, deviation {column['deviation']:.4g}"
        )
    values = column["values"]
    named = ", ".join(map(str, values[:_NAMED])) + (", ..." if len(values) > _NAMED else "")
    if is_label:
        return f"{named}, numbered from 0"
    return (
        f"{count_text(len(values), 'column')}: {named}" if values else "nothing: no row has a value"
    )


def _lineage(column: Mapping[str, Any], derive: Mapping[str, str]) -> str:
    if text := derive.get(column["name"]):
        return text
    return f"from {', '.join(column['derived_from'])}" if column.get("derived_from") else ""


def _head(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(rows[0]) if rows else []
    texts = {
        name: ["" if row[name] is None else printable(str(row[name])) for row in rows]
        for name in names
    }
    return _fitted([Column(printable(name), texts[name], least=8) for name in names])


def _fitted(cells: Sequence[Column]) -> list[str]:
    return fit(cells, width_of(make_console())).lines
