"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dotrain.cli import completion

ConfigArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="The YAML file.",
        show_default=False,
        autocompletion=completion.config_files,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY.PATH=VALUE", help="Override a config value."),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run directory; or a name or a config, for its newest run; or latest.",
        show_default=False,
        autocompletion=completion.runs,
    ),
]
TrialArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[TRIAL]",
        help="This trial alone: t0007, or 7.",
        autocompletion=completion.trials,
    ),
]
RunsDirOption = Annotated[
    Path,
    typer.Option(metavar="DIR", help="Where run directories go, and are found by name."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]
RequireOption = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        metavar="GATE",
        help="Exit 4 unless the result meets it: 'val_accuracy>=0.9', 'trials.failed==0'.",
    ),
]
AllowSimulatedOption = Annotated[
    bool,
    typer.Option("--allow-simulated", help="Let gates judge a simulated run's made-up values."),
]
WaitOption = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait for workers for as long as it takes, those that another run holds among them.",
    ),
]
JunitOption = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit XML file.")
]
CodeOption = Annotated[
    Literal["current", "archived"] | None,
    typer.Option(
        "--code",
        metavar="current|archived",
        help="If the code has changed: run it as it is now, or what ran last, as the run has kept it.",
    ),
]
CodeDirOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Where the code lies now: the folder that paths in the config start from.",
    ),
]
