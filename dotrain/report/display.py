"""What shows a run while it goes on, and what it is told beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
