"""The config of a run: a file that people name, or that of a run that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dotrain.config.errors import Problem
from dotrain.config.load import load_config
from dotrain.config.loaded import LoadedConfig, Mode
from dotrain.errors import UsageError
from dotrain.results import kind_of
from dotrain.results.resuming import is_from_config, resume_command
from dotrain.runs.stopped import StoppedRun
from dotrain.store import archived_code, unpacked


def load(config: Path, overrides: Sequence[str] = (), *, mode: Mode = "run") -> LoadedConfig:
    """Load a config; one that lies in a run directory means the code that ran there.

    Args, returns and errors are those of `load_config`.
    """
    archived = archived_code(config)
    if archived is None:
        return load_config(config, overrides, mode=mode)
    loaded = load_config(config, overrides, folder=archived.folder, code=archived.code, mode=mode)
    if archived.went_on_otherwise:
        message = "the run went on with other code later (code-*.zip beside it); what it began with is run"
        loaded = replace(loaded, warnings=[*loaded.warnings, Problem(str(config), (), message)])
    return loaded


def load_again(stopped: StoppedRun, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Load the config of a run that goes on, and the user's code as it is now.

    Args:
        stopped: The run.
        overrides: ``key.path=value`` pairs.

    Raises:
        UsageError: If the run was not started from a config.
        ConfigError: With every mistake in the config.
    """
    run_dir, header = stopped.run_dir, stopped.header
    if not is_from_config(header):
        command = resume_command(run_dir.path, header)
        raise UsageError(f"{run_dir.path} was not started from a config; go on with: {command}")
    return load_config(
        run_dir.config,
        overrides,
        folder=Path(header["config_dir"]),
        code=unpacked(run_dir) if (header.get("code") or {}).get("archived") else None,
        mode=kind_of(header).command,
        goes_on=True,
    )
