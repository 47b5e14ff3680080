"""Where paths in a run's config start from: told relative to the run directory, which may be moved."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def told_in_header(folder: Path, run_dir: Path) -> dict[str, str]:
    """Return what a header says of a config's folder.

    Args:
        folder: Where paths in the config start from.
        run_dir: The run directory.

    Returns:
        ``config_dir``, relative to the run directory: what moves with it stays where it is; and
        ``config_was_in``, where it was then, which nothing depends on: one more place to look.
    """
    as_named = os.path.relpath(folder.absolute(), run_dir.absolute())
    as_it_lies = os.path.relpath(folder.resolve(), run_dir.resolve())
    # With links on the way the two differ; the one that leads less far away has more in common.
    relative = min(as_named, as_it_lies, key=lambda path: path.count(os.pardir))
    return {"config_dir": relative, "config_was_in": str(folder.absolute())}


def config_folders(run_dir: Path, header: Mapping[str, Any]) -> list[Path]:
    """Return where paths in a run's config may start from now, in the order in which to look.

    Args:
        run_dir: The run directory, where it lies now.
        header: The journal's, of any version: earlier ones knew an absolute folder alone.
    """
    told = header.get("config_dir", "")
    # Not through links: `..` is what it was where it was written down.
    now = [os.path.normpath(base / told) for base in (run_dir.absolute(), run_dir.resolve())]
    return [*dict.fromkeys(Path(folder) for folder in (*now, header.get("config_was_in", now[0])))]
