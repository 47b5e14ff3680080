"""The command `data`: what a train function would get of the table that a config declares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dotrain.cli.options import ConfigArgument, JsonOption, RunsDirOption, SetOption


def data(
    config: ConfigArgument,
    set_: SetOption = None,
    head: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show the first rows to train on, too.")
    ] = 0,
    runs_dir: RunsDirOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Read the declared table: columns, types, what is missing, rows of each split, lineage, digest."""
    from dotrain.data.doubts import doubts
    from dotrain.report.data import print_table, told_of
    from dotrain.report.stdout import print_json, printing
    from dotrain.runs.loading import load
    from dotrain.runs.tables import ready_table

    table = ready_table(load(config, set_ or ()), runs_dir)
    found = told_of(table, head)
    sys.stderr.writelines(f"warning: data: {text}\n" for text in doubts(table))
    with printing():
        print_json(found) if json else print_table(found)
