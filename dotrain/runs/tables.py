"""The table of a run: made ready before anything starts, told in the journal, and the same when the run goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dotrain.config.errors import ConfigError
from dotrain.config.loaded import LoadedConfig
from dotrain.config.shipping import MOST_BYTES
from dotrain.config.table import column_problems, problem_of
from dotrain.core.usage import megabytes
from dotrain.data.doubts import doubts
from dotrain.data.preparing import prepare
from dotrain.data.source import BadData, Column
from dotrain.data.table import Table
from dotrain.errors import DotrainError, UsageError
from dotrain.runs.columns import named_columns, same_columns
from dotrain.runs.definition import Experiment
from dotrain.store import RunDir
from dotrain.usercode.archive import Code

#: What of a column is compared when a run goes on; the rest follows from the rows.
_OF_A_COLUMN = ("type", "kind", "derived_from")


def with_table(
    experiment: Experiment,
    runs_dir: Path,
    *,
    known: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Experiment:
    """Make the declared table ready, if there is one and it isn't.

    Args:
        experiment: What is to be run.
        runs_dir: Where run directories go, beside which tables are kept.
        known: What the journal of a run that goes on has of it.
        quiet: Don't warn.

    Returns:
        The experiment, with the table, and with what the study leaves out named by its columns.

    Raises:
        ConfigError: If the data aren't what the config says.
        DotrainError: If there is no room for them.
    """
    declared = experiment.table
    if declared is None or experiment.simulated or experiment.rows is not None:
        return experiment
    table = ready_table(experiment, runs_dir, known)
    columns = [Column(one.name, one.type, one.view) for one in table.facts.values()]
    if experiment.study is not None:
        section = experiment.settings.ablation
        found = [*column_problems(declared, columns, table.columns, section, experiment.source)]
        for name, first in same_columns(experiment.study, table).items():
            path = experiment.study.components[name].path
            message = f"leaves out the same columns as {first}: take one out"
            found.append(experiment.source.problem(path, message))
        if found:
            raise ConfigError(found)
    files, warning = _travelling(table, experiment)
    warnings = [*doubts(table), *([warning] if warning else [])]
    if not quiet:
        sys.stderr.writelines(f"warning: data: {text}\n" for text in warnings)
    study, notes = experiment.study, experiment.of_columns
    if study is not None:
        study, notes = named_columns(study, table)
    return replace(experiment, rows=table, table_files=files, study=study, of_columns=notes)


def ready_table(
    loaded: LoadedConfig, runs_dir: Path, known: Mapping[str, Any] | None = None
) -> Table:
    """Return the table that a config declares, ready.

    Args:
        loaded: The config.
        runs_dir: As of `with_table`.
        known: Likewise.

    Raises:
        ConfigError: If the data aren't what the config says.
        UsageError: If it declares none.
        DotrainError: If there is no room for it.
    """
    if loaded.table is None:
        said = loaded.settings.data
        what = (
            "has no data:"
            if said is None
            else f"data: names a function, {said}, which gives what it likes"
        )
        raise UsageError(
            f"{loaded.settings.name}: {what}; expected a table, such as data: {{file: t.csv, label: y}}"
        )
    try:
        return prepare(loaded.table, runs_dir, known)
    except BadData as error:
        raise ConfigError([problem_of(error, loaded.source)]) from None
    except OSError as error:
        where = error.filename or runs_dir
        raise DotrainError(f"{where}: {error.strerror}: no place for the table") from None


@contextmanager
def withheld(experiment: Experiment) -> Iterator[None]:
    """Keep from all processes that are started meanwhile what the table was read with: the URL of a database.

    Whoever wants it in trials names it in ``env:``.
    """
    names = () if experiment.table is None else experiment.table.source.secrets
    taken = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def with_same_table(
    experiment: Experiment, run_dir: RunDir, header: Mapping[str, Any], *, quiet: bool
) -> Experiment:
    """Make the table of a run that goes on ready.

    Args:
        experiment: What was run.
        run_dir: The run directory.
        header: The journal's.
        quiet: Don't warn.

    Raises:
        UsageError: If it isn't the one that the run began with.
        DotrainError: As of `with_table`.
    """
    known = header.get("data")
    found = with_table(experiment, run_dir.runs_dir, known=known, quiet=quiet)
    now = None if found.rows is None else found.rows.to_json()
    if lines := [*table_changes(known, now)]:
        told = "\n  ".join(lines)
        raise UsageError(
            f"{run_dir.path} can't go on with other data than it began with:\n  {told}\n"
            "its values would not be comparable: bring the data back, or start a new run"
        )
    return found


def table_changes(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what differs between the tables of two times.

    Args:
        before: What the journal has; None if it has none.
        now: What was found; None if nothing was looked for.
    """
    if now is None:
        return
    if before is None:
        yield "data: the run began with an earlier dotrain, which read and scaled tables in another way"
        return
    lines = [*_differences(before.get("identity"), now.get("identity"), "data")]
    if not lines and before.get("digest") != now.get("digest"):
        lines = ["data: the same source has other rows now"]
    yield from lines or [
        line
        for key in ("label", "columns", "rows", "split", "derive")
        for line in _differences(
            _comparable(before.get(key)), _comparable(now.get(key)), f"data.{key}"
        )
    ]


def _differences(before: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}")
    elif before != now:
        yield f"{path}: was {_short(before)}, is now {_short(now)}"


def _comparable(told: Any) -> Any:
    """Return what of a part of a table's record says that the table is the same: columns by their names."""
    if isinstance(told, Mapping) and "name" in told:
        return {told["name"]: {key: told.get(key) for key in _OF_A_COLUMN}}
    if isinstance(told, list):
        return {name: one for column in told for name, one in _comparable(column).items()}
    return told


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    text = repr(value)
    return f"{text[:60]}..." if len(text) > 64 else text


def _travelling(table: Table, experiment: Experiment) -> tuple[Code, str]:
    """Return the table's files for workers that may not see them, and what a person should know."""
    if experiment.executor.runs_on_this_machine:
        return Code(), ""
    size = sum(path.stat().st_size for path in table.files)
    if size > MOST_BYTES:
        return Code(), (
            f"{table.text} doesn't go along, as more than {megabytes(MOST_BYTES)} MB would ({megabytes(size)} MB); "
            f"workers must see {table.files[0]} by that path"
        )
    return Code.of(table.names), ""
