"""The command `stop`: end a run, or one of its trials, from elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dotrain.cli.options import JsonOption, RunArgument, RunsDirOption, TrialArgument


def stop(
    run: RunArgument,
    trial: TrialArgument = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "",
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Don't wait until it has ended.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option(min=0.0, help="How long to wait for that, in seconds.")
    ] = 60.0,
    runs_dir: RunsDirOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """End a run as Ctrl-C does, or one trial at its next report; from any machine that sees the run."""
    from dotrain.report.stdout import print_json, printing
    from dotrain.runs.finding import find_run
    from dotrain.runs.stopping import stop as stop_run

    path = find_run(run, runs_dir)
    found = stop_run(path, trial, reason, None if no_wait else timeout_s, _say)
    with printing():
        print_json(found.to_json()) if json else sys.stdout.write(f"{found.text}\n")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
