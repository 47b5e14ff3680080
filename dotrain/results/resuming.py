"""How to go on with a run, in words that work if they are typed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def is_from_config(header: Mapping[str, Any]) -> bool:
    """Return whether a run was started from a config, which can be loaded again.

    Args:
        header: The journal's header.
    """
    return "train" in header.get("config", {})


def resume_command(run_dir: Path, header: Mapping[str, Any]) -> str:
    """Return what goes on with a run: a command, or the call that it was started with.

    Args:
        run_dir: The run directory.
        header: The journal's header.
    """
    if is_from_config(header):
        return f"dotrain resume {shlex.quote(str(run_dir))}"
    return f"lagom(..., resume={str(run_dir)!r})"
