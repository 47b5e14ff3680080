"""Who shows a run while it goes on: nobody, plain lines, or a live table on a terminal.

Progress goes to stderr; stdout is for the result alone.
"""

from __future__ import annotations

import os
import sys
from typing import IO

from dotrain.core.observer import Observer
from dotrain.report.subject import Subject


def choose_observer(subject: Subject, *, live: bool = True, quiet: bool = False) -> Observer:
    """Return the display that fits where stderr leads.

    Args:
        subject: What is about to run.
        live: Whether a live table may be shown at all.
        quiet: Show nothing.
    """
    if quiet:
        return Observer()
    stream = sys.stderr
    if live and draws(stream):
        from dotrain.report.live import LiveTable

        return LiveTable(subject, stream)
    from dotrain.report.plain import Plain

    return Plain(subject, stream)


def draws(file: IO[str]) -> bool:
    """Whether a stream leads to a terminal where the cursor can be moved."""
    return file.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
