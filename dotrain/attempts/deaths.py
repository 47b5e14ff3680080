"""What a process died of."""

from __future__ import annotations

import signal
from pathlib import Path

from dotrain.core.usage import megabytes


def oom_kills() -> int:
    """Return how many processes the kernel has killed for want of memory; 0 if it doesn't say."""
    try:
        for line in Path("/proc/vmstat").read_text(encoding="utf-8").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def cause_of_death(
    code: int,
    out_of_memory: bool,
    what: str = "its process",
    peak_bytes: int | None = None,
) -> str:
    """Say what ended a process.

    Args:
        code: Its exit code; a signal is negative.
        out_of_memory: Whether the kernel has killed some process for want of memory meanwhile.
        what: Which process.
        peak_bytes: The most memory that it was seen to hold; None where nobody has looked.
    """
    if code >= 0:
        return f"{what} ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ""
    if out_of_memory and -code == signal.SIGKILL:
        hint = " for want of memory"
        if peak_bytes is not None:
            hint += f" (it was seen to use {megabytes(peak_bytes)} MB)"
    return f"{what} was killed by {name}{hint}"
