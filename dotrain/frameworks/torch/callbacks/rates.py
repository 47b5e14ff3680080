"""Under ``pbt`` a checkpoint is another configuration's: an optimizer keeps hyperparameters of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

#: The hyperparameters of each group of an optimizer's parameters.
Options = Sequence[dict[str, Any]]


def options_of(optimizer: Any) -> Options:
    """Return an optimizer's hyperparameters, as they are now."""
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def put_back(optimizer: Any, options: Options, schedules: Iterable[Any]) -> None:
    """Set hyperparameters that an optimizer had before another one's state was loaded.

    What a schedule has made of the learning rate holds on: it is scaled.

    Args:
        optimizer: One whose state was loaded.
        options: What `options_of` has returned before.
        schedules: Those of the learning rate, with their states loaded.
    """
    for group, own in zip(optimizer.param_groups, options, strict=True):
        base = own.get("initial_lr", own["lr"])
        loaded = group.get("initial_lr", group["lr"])
        rate = group["lr"] * (base / loaded) if loaded else base
        has_schedule = "initial_lr" in group
        group.update(own)
        group["lr"] = rate
        if has_schedule:
            group["initial_lr"] = base
    for schedule in schedules:
        its = schedule.optimizer  # or what wraps it
        if optimizer in (its, getattr(its, "optimizer", None)) and hasattr(schedule, "base_lrs"):
            schedule.base_lrs = [g.get("initial_lr", g["lr"]) for g in optimizer.param_groups]
