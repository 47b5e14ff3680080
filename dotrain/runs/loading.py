"""The config of a run: a file that people name, or that of a run that goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dotrain.config.errors import ConfigError, Problem
from dotrain.config.load import load_config
from dotrain.config.loaded import LoadedConfig, Mode
from dotrain.config.source import read_source
from dotrain.errors import UsageError
from dotrain.results import kind_of
from dotrain.runs.stopped import StoppedRun
from dotrain.runs.which_code import Chosen, homes_of, with_other_files
from dotrain.store import Unpacked, archived_code

#: What is said of a config that lies in a run directory.
_ARCHIVED = "the config lies in a run directory: the code that ran there is run, not today's"


def load(config: Path, overrides: Sequence[str] = (), *, mode: Mode = "run") -> LoadedConfig:
    """Load a config; one that lies in a run directory means the code that ran there.

    Args, returns and errors are those of `load_config`.
    """
    archived = archived_code(config)
    if archived is None:
        return load_config(config, overrides, mode=mode)
    data = read_source(config, overrides, is_written=True).data
    data = data if isinstance(data, dict) else {}
    folder = with_other_files(archived.folders, data)
    loaded = load_config(config, overrides, folder=folder, code=archived.code.folder, mode=mode)
    loaded = _with_code(loaded, archived.code, folder, data)
    if archived.went_on_otherwise:
        message = "the run went on with other code later (code-*.zip beside it); what it began with is run"
        loaded = replace(loaded, warnings=[*loaded.warnings, Problem(str(config), (), message)])
    return _noting(loaded, _ARCHIVED)


def load_again(stopped: StoppedRun, chosen: Chosen, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Load the config of a run that goes on.

    Args:
        stopped: The run.
        chosen: The code that it goes on with.
        overrides: ``key.path=value`` pairs.

    Raises:
        ConfigError: With every mistake in the config, and what to do where some of the code is gone.
        UsageError: If other code than is meant has been imported already.
    """
    run_dir, kept = stopped.run_dir, chosen.kept
    try:
        loaded = load_config(
            run_dir.config,
            overrides,
            folder=chosen.folder,
            code=None if kept is None else kept.folder,
            mode=kind_of(stopped.header).command,
            goes_on=True,
        )
    except ConfigError as error:
        gone = [] if kept else _gone(chosen, stopped.header.get("config", {}))
        if not gone:
            raise
        message = (
            f"{', '.join(gone)}: gone since the run; put it back, or go on with the code that ran, which the run has "
            f"kept ({chosen.ran.archive.name}): --code archived"
        )
        raise ConfigError([*error.problems, Problem(str(run_dir.path), (), message)]) from None
    if kept is not None:
        loaded = _with_code(loaded, kept, chosen.folder, stopped.header.get("config", {}))
    return _noting(loaded, chosen.note, str(run_dir.path)) if chosen.note else loaded


def _gone(chosen: Chosen, config: Mapping[str, Any]) -> list[str]:
    """Return the files of the code that ran last that are found no more, if the run has kept them."""
    if not chosen.ran.archive.is_file():
        return []
    homes = homes_of(chosen.ran.files or {}, chosen.folder, config)
    return [name for name, home in homes.items() if not Path(home).is_file()]


def _with_code(
    loaded: LoadedConfig, code: Unpacked, folder: Path, config: Mapping[str, Any]
) -> LoadedConfig:
    """Return what was loaded with all of an earlier run's code: equal code has equal digests."""
    for file in loaded.closure.files:
        if file not in code.files:
            raise UsageError(
                f"{file} was found where the run's own code is meant, {code.folder}; if this "
                "process has imported it before, start a new one"
            )
    homes = homes_of(code.files.values(), folder, config)
    closure = replace(loaded.closure, files=dict(code.files), homes=homes, kept_in=str(code.folder))
    return replace(loaded, closure=closure)


def _noting(loaded: LoadedConfig, note: str, origin: str = "") -> LoadedConfig:
    return replace(loaded, notes=[*loaded.notes, Problem(origin, (), note)])
