"""What can be said of a declared table by its header alone, before anything runs."""

from __future__ import annotations

from collections.abc import Iterator

from dotrain.config.errors import Problem
from dotrain.config.schema import Ablation
from dotrain.config.source import Source
from dotrain.errors import did_you_mean
from dotrain.training.errors import BadSetup
from dotrain.training.table_files import TabularSource, columns_of


def table_problems(
    table: TabularSource, ablation: Ablation | None, source: Source
) -> Iterator[Problem]:
    """Yield what is wrong with a table, and with the columns that the config names.

    Args:
        table: The table, its path resolved.
        ablation: The study whose features are its columns, or None.
        source: Where the config came from.
    """
    try:
        columns = columns_of(table.file)
    except BadSetup as error:
        yield source.problem(("data", "file"), str(error))
        return
    if columns is None:
        return
    others = [name for name in columns if name != table.label]
    if table.label not in columns:
        hint = did_you_mean(table.label, columns)
        message = f"{table.file} has no label column '{table.label}'{hint}"
        yield source.problem(("data", "label"), message)
    elif not others:
        yield source.problem(("data", "file"), f"{table.file} has no column beside the label")
    for index, name in enumerate(ablation.features if ablation else ()):
        message = f"{table.file} has no column '{name}'{did_you_mean(name, others)}"
        if name == table.label:
            message = f"column '{name}' is the label, and is not trained on"
        if name not in others:
            yield source.problem(("ablation", "features", index), message)
