"""What can be said of a declared table by what shows without reading it, before anything runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from dotrain.ablation.components import Feature, FeatureGroup
from dotrain.config.ablate import components_of
from dotrain.config.errors import Problem
from dotrain.config.schema import Ablation
from dotrain.config.source import Source
from dotrain.data.declared import Declared
from dotrain.data.source import BadData, Column
from dotrain.errors import did_you_mean


def table_problems(table: Declared, ablation: Ablation | None, source: Source) -> Iterator[Problem]:
    """Yield what is wrong with a table, and with the columns that the config names.

    Args:
        table: The table, its path resolved.
        ablation: The study whose features are its columns, or None.
        source: Where the config came from.
    """
    try:
        columns = table.source.declared()
        if columns is None:
            yield from _missing(table, source)
            return
    except BadData as error:
        yield problem_of(error, source)
        return
    names = [column.name for column in columns]
    beside = [column.name for column in columns if column.beside]
    if faults := [*table.faults(names, beside)]:
        yield from (problem_of(fault, source) for fault in faults)
        return
    chosen = table.chosen(names, beside)
    yield from column_problems(table, columns, chosen, ablation, source)


def problem_of(error: BadData, source: Source) -> Problem:
    """Return what was found wrong with the data, at its place in the config."""
    return source.problem(("data", *error.key), str(error))


def column_problems(
    table: Declared,
    columns: Sequence[Column],
    chosen: Sequence[str],
    ablation: Ablation | None,
    source: Source,
) -> Iterator[Problem]:
    """Yield what is wrong with the columns that a study leaves out.

    Args:
        table: The table.
        columns: All that its source has.
        chosen: Those to predict from.
        ablation: The study, or None.
        source: Where the config came from.
    """
    if ablation is None:
        return
    text, views = table.source.text, {column.view for column in columns} - {""}
    for component in components_of(ablation):
        names = list(component.names) if isinstance(component, Feature | FeatureGroup) else []
        for name in names:
            message = f"{text} has no column '{name}'{did_you_mean(name, list(chosen))}"
            if name in {column.name for column in columns}:
                message = f"column '{name}' is not trained on: it isn't among those to predict from"
            if name == table.label:
                message = f"column '{name}' is the label, and is not trained on"
            if name not in chosen:
                yield source.problem(component.path, message)
        if not isinstance(component, FeatureGroup):
            continue
        if component.view and component.view not in views:
            known = (
                f"; {text} has none" if not views else did_you_mean(component.view, sorted(views))
            )
            yield source.problem(component.path, f"no feature view '{component.view}'{known}")
        if component.pattern and not any(fnmatchcase(one, component.pattern) for one in chosen):
            message = f"{text} has no column that matches '{component.pattern}'; known: "
            yield source.problem(component.path, message + ", ".join(chosen))


def _missing(table: Declared, source: Source) -> Iterator[Problem]:
    """Yield what isn't installed that reads the table."""
    kind, requirement = table.source.kind, table.source.requirement
    for name in table.source.packages:
        if importlib.util.find_spec(name) is None:
            message = f"reading {table.source.text} needs {name}: pip install '{requirement}'"
            yield source.problem(("data", kind), message)
            return
