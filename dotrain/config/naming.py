"""The name of a config's runs."""

from __future__ import annotations

from pathlib import Path

from dotrain.config.source import read_source


def run_name(name: object, stem: str) -> str:
    """Return what the runs of a config are called.

    Args:
        name: What the config says, if anything.
        stem: Of the file, which stands for it.
    """
    if name:
        return str(name)
    text = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return text.lstrip("._-")[:100] or "run"


def read_run_name(file: Path) -> str:
    """Return what the runs of a config are called, whatever else is wrong with it.

    Raises:
        ConfigError: If it can't be read.
    """
    return run_name(read_source(file).data.get("name"), file.stem)
