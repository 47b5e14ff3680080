"""The commands: parse, call, print, exit code. No logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="dotrain",
    help="Write a train function once; run it once, or as a parallel search, from one YAML file.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

ConfigArgument = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="The YAML file.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY.PATH=VALUE", help="Override a config value."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]


@app.callback()
def _options() -> None:
    """Make `run` and `check` subcommands, however many there are."""


@app.command()
def run(
    config: ConfigArgument,
    set_: SetOption = None,
    runs_dir: Annotated[Path, typer.Option(metavar="DIR", help="Where run directories go.")] = Path(
        "runs"
    ),
    json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Search if the file has `search:`, else train once."""
    from dotrain import experiment
    from dotrain.config import load_config
    from dotrain.report.console import print_json, print_result

    asked = experiment.Experiment.of_config(load_config(config, set_ or ()))
    result = experiment.run(asked, runs_dir, experiment.display(asked, quiet=quiet))
    if json:
        print_json(result.summary)
    else:
        print_result(result.summary, result.trials)
    if result.error is not None:
        raise result.error
    raise typer.Exit(experiment.exit_code(result))


@app.command()
def check(config: ConfigArgument, set_: SetOption = None, json: JsonOption = False) -> None:
    """Validate a config and print the plan; nothing is run."""
    from dotrain.config import load_config
    from dotrain.config.plan import make_plan
    from dotrain.report.console import print_json, print_plan

    plan = make_plan(load_config(config, set_ or ()))
    if json:
        print_json(plan)
    else:
        print_plan(plan)


def main() -> None:
    """Run the command line; errors that the user can mend are shown without a traceback."""
    from dotrain.errors import DotrainError

    try:
        app()
    except DotrainError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
