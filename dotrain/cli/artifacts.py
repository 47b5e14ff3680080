"""The command `artifacts`: the files of a run, or of a trial."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dotrain.cli.options import JsonOption, RunArgument, RunsDirOption, TrialArgument


def artifacts(
    run: RunArgument,
    trial: TrialArgument = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="Copy the files there; none that is there is changed."
        ),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    json: JsonOption = False,
) -> None:
    """List the files of a run, or of one trial: logs, checkpoints, reports; or copy them."""
    from dotrain.report.artifacts import print_artifacts, read_artifacts
    from dotrain.report.copying import copy_artifacts
    from dotrain.report.stdout import print_json, printing
    from dotrain.runs.finding import find_run

    found = read_artifacts(find_run(run, runs_dir), trial)
    copied = None if to is None else copy_artifacts(found, to)
    with printing():
        if json:
            print_json({**found.to_json(), **({"copied": copied.to_json()} if copied else {})})
        elif copied is not None:
            sys.stdout.write(f"{copied.text}\n")
        else:
            print_artifacts(found)
