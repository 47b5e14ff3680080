"""The commands: parse, call, print, exit code. No logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dotrain.cli import completion
from dotrain.cli.artifacts import artifacts
from dotrain.cli.data import data
from dotrain.cli.options import (
    AllowSimulatedOption,
    CodeDirOption,
    CodeOption,
    ConfigArgument,
    JsonOption,
    JunitOption,
    QuietOption,
    RequireOption,
    RunArgument,
    RunsDirOption,
    SetOption,
    WaitOption,
)
from dotrain.cli.show import show
from dotrain.cli.stop import stop

if TYPE_CHECKING:
    from dotrain.runs.result import Result

app = typer.Typer(
    name="dotrain",
    help="Write a train function once; run it once, as a parallel search, as an ablation study, or distributed, from one YAML file.",
    add_completion=True,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="With --version: Python, packages, platform too."),
    ] = False,
) -> None:
    """Answer what isn't asked of a command."""
    if version:
        from dotrain.versions import version_text

        sys.stdout.write(version_text(verbose=verbose))
        raise typer.Exit
    if verbose:
        from dotrain.errors import UsageError

        raise UsageError("--verbose is for --version: dotrain --version -v")
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def run(
    config: ConfigArgument,
    set_: SetOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    require: RequireOption = None,
    junit: JunitOption = None,
    allow_simulated: AllowSimulatedOption = False,
    wait: WaitOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Search if the file has `search:`, else train once."""
    from dotrain import experiment

    result = experiment.run(
        config,
        set_ or (),
        runs_dir=runs_dir,
        quiet=quiet,
        require=require or (),
        junit=junit,
        allow_simulated=allow_simulated,
        wait=wait,
    )
    _finish(result, json, quiet)


@app.command()
def ablate(
    config: ConfigArgument,
    set_: SetOption = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Use the best hyperparameters found there.",
            autocompletion=completion.runs,
        ),
    ] = None,
    runs_dir: RunsDirOption = Path("runs"),
    require: RequireOption = None,
    junit: JunitOption = None,
    allow_simulated: AllowSimulatedOption = False,
    wait: WaitOption = False,
    json: JsonOption = False,
    md: Annotated[bool, typer.Option("--md", help="The table as Markdown.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="The table as LaTeX.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Every arm and seed as CSV.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Leave one component out at a time, and say what each was worth."""
    from dotrain import experiment

    result = experiment.ablate(
        config,
        set_ or (),
        from_run=from_,
        runs_dir=runs_dir,
        quiet=quiet,
        require=require or (),
        junit=junit,
        allow_simulated=allow_simulated,
        wait=wait,
    )
    _finish(result, json, quiet, "md" if md else "latex" if latex else "csv" if csv else "")


@app.command()
def resume(
    run: RunArgument,
    set_: SetOption = None,
    code: CodeOption = None,
    code_dir: CodeDirOption = None,
    runs_dir: RunsDirOption = Path("runs"),
    require: RequireOption = None,
    junit: JunitOption = None,
    allow_simulated: AllowSimulatedOption = False,
    wait: WaitOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Go on with a run that stopped, for whatever reason."""
    from dotrain import experiment

    result = experiment.resume(
        run,
        set_ or (),
        runs_dir=runs_dir,
        quiet=quiet,
        require=require or (),
        junit=junit,
        allow_simulated=allow_simulated,
        wait=wait,
        code=code,
        code_dir=code_dir,
    )
    _finish(result, json, quiet)


def _finish(result: Result, json: bool, quiet: bool, form: str = "") -> None:
    from dotrain.report.ablation import to_text
    from dotrain.report.result import print_gates, print_result
    from dotrain.report.stdout import print_data, print_json, printing

    with printing():
        if json:
            print_json(result.summary)
        elif form:
            print_data(to_text(result.found, form))
        else:
            print_result(result.found)
    print_gates(result.found.gates, quiet=quiet)
    if result.error is not None:
        raise result.error
    raise typer.Exit(result.exit_code)


@app.command()
def status(
    run: RunArgument, runs_dir: RunsDirOption = Path("runs"), json: JsonOption = False
) -> None:
    """Say what is running, waiting (and why), finished; live or dead."""
    from dotrain.report.status import print_status, read_status
    from dotrain.report.stdout import print_json, printing
    from dotrain.runs.finding import find_run

    found = read_status(find_run(run, runs_dir))
    with printing():
        print_json(found.to_json()) if json else print_status(found)


app.command()(show)
app.command()(artifacts)
app.command()(data)
app.command()(stop)


@app.command()
def report(
    run: RunArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to.", show_default="RUN/report.html"
        ),
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard's event files instead.")
    ] = False,
    runs_dir: RunsDirOption = Path("runs"),
) -> None:
    """Make one self-contained HTML page of a run, and print its path."""
    from dotrain.errors import UsageError
    from dotrain.report.stdout import print_data, printing
    from dotrain.runs.finding import find_run

    if tensorboard and output is not None:
        raise UsageError("--output is for the page; event files go into the run directory")
    written = find_run(run, runs_dir)
    if tensorboard:
        from dotrain.report.reading import read_run
        from dotrain.report.tensorboard import write_all

        write_all(read_run(written))
    else:
        from dotrain.report.page.writing import write_page

        written = write_page(written, output)
    with printing():
        print_data(f"{written}\n")


@app.command()
def check(config: ConfigArgument, set_: SetOption = None, json: JsonOption = False) -> None:
    """Validate a config and print the plan; nothing is run."""
    from dotrain.config.plan import make_plan
    from dotrain.report.result import print_plan
    from dotrain.report.stdout import print_json, printing
    from dotrain.runs.loading import load

    plan = make_plan(load(config, set_ or ()))
    with printing():
        print_json(plan) if json else print_plan(plan)


@app.command()
def init(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where; by default here.", show_default=False)
    ] = Path(),
    template: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to start from; without it a terminal is asked, else what is installed decides.",
            autocompletion=completion.templates,
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a small config and train function to start from, with the framework of your choice."""
    from dotrain.report.stdout import printing
    from dotrain.scaffold.project import create_project, describe_project, suitable, templates

    if template is None:
        template = suitable()
        if sys.stdin.isatty() and sys.stdout.isatty():
            known = templates()
            for name, one in known.items():
                typer.echo(f"{name:{max(map(len, known))}}  {one.summary}")
            template = typer.prompt("template", default=template)
    written = create_project(directory, template)
    with printing():
        sys.stdout.write(describe_project(directory, template, written))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the config, for editors."""
    from dotrain.config.catalogue import catalogue
    from dotrain.config.json_schema import config_schema
    from dotrain.report.stdout import print_json, printing

    found = config_schema(catalogue())
    with printing():
        print_json(found)


@app.command()
def plugins(json: JsonOption = False) -> None:
    """List the optimizers, early-stop rules, strategies, ablators and clusters found."""
    from dotrain.config.catalogue import catalogue
    from dotrain.report.plugins import print_plugins
    from dotrain.report.stdout import print_json, printing

    found = catalogue()
    with printing():
        print_json([entry.as_json() for entry in found]) if json else print_plugins(found)


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
