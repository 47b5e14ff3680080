"""A config as people name it: a file of their own, or that of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dotrain.config.errors import Problem
from dotrain.config.load import LoadedConfig, Mode, load_config
from dotrain.store import archived_code


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
