"""Where a train function's event files for TensorBoard go."""

from __future__ import annotations

_logdir: str | None = None


def logdir() -> str | None:
    """Return the folder of the trial that runs in this process; None outside of one."""
    return _logdir


def register(folder: str) -> None:
    """Note the folder of the trial that begins."""
    global _logdir
    _logdir = folder
