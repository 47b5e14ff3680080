"""What a display is told of a run beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from dotrain.core.policy import Direction, Plan


@dataclass(frozen=True)
class Subject:
    """What a display is told of a run beforehand.

    Attributes:
        title: What is about to run, in one line.
        metric: Name of the metric, of several of the main one.
        direction: ``max`` or ``min``.
        plan: What the optimizer plans, or None.
        arms: Of an ablation study, the baseline included; else nothing.
        seeds: Runs of each arm.
        is_virtual: Whether time is made up.
        metrics: Of several metrics all names, the main one's first; else nothing.
    """

    title: str
    metric: str
    direction: Direction
    plan: Plan | None = None
    arms: tuple[str, ...] = ()
    seeds: int = 0
    is_virtual: bool = False
    metrics: tuple[str, ...] = ()
