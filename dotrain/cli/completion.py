"""What the shell offers when Tab is pressed.

A shell starts this anew at every Tab, so nothing heavy is imported before it is needed. Where
nothing is offered, the shell completes paths by itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import typer

#: So much of a journal is read: what its trials are like shows at its start.
_RECORDS = 200


def config_files(incomplete: str) -> list[str]:
    """Return the YAML files that begin so, in this folder and in the folders below it."""
    files = (file for pattern in ("*", "*/*") for file in _below(incomplete, pattern))
    return _beginning(incomplete, (str(f) for f in files if f.suffix in (".yaml", ".yml")))


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of runs and the run directories that begin so, here or where `run` puts them."""
    from dotrain.runs.finding import LATEST, runs_in

    patterns = ["*/journal.jsonl", "*/*/journal.jsonl"]
    found: set[str] = set()
    if "/" not in incomplete:
        patterns.append("runs/*/*/journal.jsonl")
        found = {run.name for run in runs_in(_runs_dir(ctx))}
        found |= {LATEST} if found else set()
    journals = (journal for pattern in patterns for journal in _below(incomplete, pattern))
    return _beginning(incomplete, found | {str(journal.parent) for journal in journals})


def trials(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the trials of the run on the command line, from their folders."""
    from dotrain.errors import DotrainError
    from dotrain.store import RunDir

    try:
        return _beginning(incomplete, os.listdir(RunDir(_run(ctx)).trials))
    except (OSError, DotrainError):
        return []


def columns(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the columns of the table of the run on the command line."""
    from dotrain.errors import DotrainError
    from dotrain.results.trials import trial_rows
    from dotrain.store import RunDir, read_journal, replay

    try:
        journal = RunDir(_run(ctx)).journal
        state = replay(islice(read_journal(journal), _RECORDS))
    except DotrainError:
        return []
    several, front = state.header.get("metrics"), () if "metrics" in state.header else None
    names = several or [state.header["metric"]]
    rows = trial_rows(state.book.trials.values(), names, front)
    return _beginning(incomplete, rows[0] if rows else ())


def _run(ctx: typer.Context) -> Path:
    """Return the directory of the run on the command line.

    Raises:
        DotrainError: If there is none.
    """
    from dotrain.runs.finding import find_run

    # After an option without its value the arguments before it are not yet parsed.
    called = ctx.params.get("run") or next(iter(ctx.args), "")
    return find_run(called, _runs_dir(ctx), quiet=True)


def _runs_dir(ctx: typer.Context) -> Path:
    return Path(ctx.params.get("runs_dir") or "runs")


def templates(incomplete: str) -> list[str]:
    """Return the templates of `init`."""
    from dotrain.scaffold.project import names

    return _beginning(incomplete, names())


def _below(incomplete: str, pattern: str) -> Iterator[Path]:
    """Yield what matches a pattern in the folder that is typed so far, hidden folders left out."""
    folder = Path(os.path.dirname(incomplete))
    depth = len(Path(pattern).parts)
    for path in folder.glob(pattern):
        if not any(part.startswith(".") for part in path.parts[-depth:]):
            yield path


def _beginning(incomplete: str, found: Iterable[str]) -> list[str]:
    return sorted(text for text in found if text.startswith(incomplete))
