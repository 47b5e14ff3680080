"""What shows a run while it goes on: nothing, plain lines, or a live table on a terminal.

Progress goes to stderr; stdout is for the result alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from dotrain.core.events import Event
from dotrain.core.instructions import Instruction
from dotrain.core.policy import Direction, Plan
from dotrain.core.scheduler import Scheduler


class Quiet:
    """Shows nothing."""

    def start(self, scheduler: Scheduler) -> None:
        """Ignore the start."""

    def on_event(self, event: Event, instructions: Sequence[Instruction], time_s: float) -> None:
        """Ignore an event."""

    def on_pulse(self, time_s: float) -> None:
        """Ignore the time."""

    def on_interrupt(self) -> None:
        """Ignore the interrupt; the exit code tells."""

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True)
class Subject:
    """What a display is told of a run beforehand.

    Attributes:
        title: What is about to run, in one line.
        metric: Name of the metric.
        direction: ``max`` or ``min``.
        plan: What the optimizer plans, or None.
        arms: Of an ablation study, the baseline included; else nothing.
        seeds: Runs of each arm.
        is_virtual: Whether time is made up.
    """

    title: str
    metric: str
    direction: Direction
    plan: Plan | None = None
    arms: tuple[str, ...] = ()
    seeds: int = 0
    is_virtual: bool = False


def choose_observer(subject: Subject, *, live: bool = True, quiet: bool = False) -> Quiet:
    """Return the display that fits where stderr leads.

    Args:
        subject: What is about to run.
        live: Whether a live table may be shown at all.
        quiet: Show nothing.
    """
    if quiet:
        return Quiet()
    stream = sys.stderr
    if live and draws(stream):
        from dotrain.report.live import LiveTable

        return LiveTable(subject, stream)
    from dotrain.report.plain import Plain

    return Plain(subject, stream)


def draws(file: IO[str]) -> bool:
    """Whether a stream leads to a terminal where the cursor can be moved."""
    return file.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
