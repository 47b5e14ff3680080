"""The command `show`: the trials of a run, or one of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dotrain.cli import completion
from dotrain.cli.options import JsonOption, RunArgument, RunsDirOption, TrialArgument


def show(
    run: RunArgument,
    trial: TrialArgument = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Sort by a column; -COLUMN turns it round.",
            autocompletion=completion.columns,
        ),
    ] = "",
    reverse: Annotated[bool, typer.Option("--reverse", help="Turn the order round.")] = False,
    state: Annotated[
        str, typer.Option(metavar="STATE", help="Only finished, stopped, failed, ... trials.")
    ] = "",
    top: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print the trial's log as it grows, to its end.")
    ] = False,
    runs_dir: RunsDirOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """Show the table of trials of a run, or one trial in full."""
    from dotrain.errors import UsageError
    from dotrain.report.stdout import print_json, printing
    from dotrain.runs.finding import find_run

    if csv and json:
        raise UsageError("--csv and --json can't be had together")
    if follow:
        if trial is None or csv or json or sort or reverse or state or top:
            raise UsageError(
                "--follow prints the log of one trial: it takes a TRIAL, and nothing else"
            )
        from dotrain.report.following import follow_log

        with printing():
            follow_log(find_run(run, runs_dir), trial, _write)
        return
    if trial is not None:
        from dotrain.report.story import read_trial
        from dotrain.report.trial_text import print_trial

        if csv or sort or reverse or state or top:
            raise UsageError("one trial is shown in full: with a TRIAL there is only --json")
        found = read_trial(find_run(run, runs_dir), trial)
        with printing():
            print_json(found) if json else print_trial(found)
        return
    from dotrain.report.table import print_table, read_table

    path = find_run(run, runs_dir)
    table = read_table(path, sort=sort, reverse=reverse, state=state, top=top)
    with printing():
        print_table(table, "csv" if csv else "json" if json else "")


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
