"""The commands: parse, call, print, exit code. No logic."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dotrain.running import Result

app = typer.Typer(
    name="dotrain",
    help="Write a train function once; run it once, as a parallel search, as an ablation study, or distributed, from one YAML file.",
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
RunDirArgument = Annotated[
    Path, typer.Argument(metavar="RUN_DIR", help="The run directory.", show_default=False)
]
RunsDirOption = Annotated[Path, typer.Option(metavar="DIR", help="Where run directories go.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]


@app.callback()
def _options() -> None:
    """Make every command a subcommand, however many there are."""


@app.command()
def run(
    config: ConfigArgument,
    set_: SetOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Search if the file has `search:`, else train once."""
    from dotrain import experiment

    result = experiment.run(config, set_ or (), runs_dir=runs_dir, quiet=quiet)
    _finish(result, json)


@app.command()
def ablate(
    config: ConfigArgument,
    set_: SetOption = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN_DIR", help="Use the best hyperparameters found there."),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    json: JsonOption = False,
    md: Annotated[bool, typer.Option("--md", help="The table as Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="The table as LaTeX.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Every arm and seed as CSV.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Leave one component out at a time, and say what each was worth."""
    from dotrain import experiment

    result = experiment.ablate(config, set_ or (), from_run=from_, runs_dir=runs_dir, quiet=quiet)
    _finish(result, json, "md" if md else "latex" if latex else "csv" if csv else "")


@app.command()
def resume(
    run_dir: RunDirArgument,
    set_: SetOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Go on with a run that stopped, for whatever reason."""
    from dotrain import experiment

    _finish(experiment.resume(run_dir, set_ or (), quiet=quiet), json)


def _finish(result: Result, json: bool, form: str = "") -> None:
    from dotrain.report.console import print_json, print_result

    # Whoever reads may have left (`| head`); what ran is in the run directory all the same.
    try:
        if json:
            print_json(result.summary)
        elif "components" in result.summary:
            from dotrain.report import ablation

            forms = {"md": ablation.to_markdown, "latex": ablation.to_latex, "csv": ablation.to_csv}
            if form:
                sys.stdout.write(forms[form](result.summary))
            else:
                ablation.print_study(result.summary)
        else:
            print_result(result.summary, result.trials)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if result.error is not None:
        raise result.error
    raise typer.Exit(result.exit_code)


@app.command()
def status(run_dir: RunDirArgument, json: JsonOption = False) -> None:
    """Say what is running, waiting (and why), finished; live or dead."""
    from dotrain.report.console import print_json
    from dotrain.report.status import print_status, read_status

    found = read_status(run_dir)
    if json:
        print_json(found)
    else:
        print_status(found)


@app.command()
def show(
    run_dir: RunDirArgument,
    sort: Annotated[str, typer.Option(metavar="COLUMN", help="Sort by a column.")] = "",
    top: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    json: JsonOption = False,
) -> None:
    """Show the table of trials of a run."""
    from dotrain.report.table import print_table, read_table

    print_table(read_table(run_dir, sort=sort, top=top), "csv" if csv else "json" if json else "")


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
