"""Several metrics in a config: which is the main one, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from dotrain import plugins
from dotrain.config.direction import judge
from dotrain.config.errors import Problem
from dotrain.config.loaded import Mode
from dotrain.config.schema import Settings
from dotrain.config.source import Source
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction

#: What to write where several metrics can't be had.
_ONE = "write metric and direction"


def with_main_metric(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config with the first of its `metrics` as its metric, as far as that can be told.

    Args:
        data: As it was written.
    """
    if "metrics" not in data:
        return data
    metrics = data["metrics"]
    name, direction = next(iter(metrics.items()), ("?", "")) if _is_mapping(metrics) else ("?", "")
    direction = direction if direction in get_args(Direction) else "max"
    return {"metric": name, "direction": direction, **data}


def metrics_problems(source: Source) -> Iterator[Problem]:
    """Yield what is wrong with `metrics` as they were written, types aside."""
    if "metrics" not in source.data:
        return
    for key in ("metric", "direction"):
        if key in source.data:
            message = (
                "stands beside metrics, which has all of them, the main one first; take one out"
            )
            yield source.problem((key,), message, at_key=True)
    metrics = source.data["metrics"]
    if not _is_mapping(metrics):
        return
    if len(metrics) < 2:
        name, direction = next(iter(metrics.items()), ("accuracy", "max"))
        message = (
            f"expected two or more; of one alone write metric: {name} and direction: {direction}"
        )
        yield source.problem(("metrics",), message, at_key=True)
    if "" in metrics:
        yield source.problem(("metrics", ""), "expected a name", at_key=True)


def opposed(settings: Settings, source: Source) -> Iterator[Problem]:
    """Yield a warning for each of several metrics whose name says another direction."""
    for name, direction in settings.metrics.items():
        if warning := judge(name, direction).warning:
            yield source.problem(("metrics", name), warning)


def several_problems(
    settings: Settings,
    optimizer: AbstractOptimizer | None,
    rule: AbstractEarlyStop | None,
    source: Source,
    mode: Mode,
    *,
    is_virtual: bool,
) -> Iterator[Problem]:
    """Yield what doesn't go with several metrics.

    Args:
        settings: The whole file.
        optimizer: As it was named, None if it can't be had.
        rule: The early-stop rule, likewise.
        source: Where everything stands.
        mode: What is to be done.
        is_virtual: Whether nothing is trained.
    """
    if not settings.metrics:
        return
    if is_virtual:
        message = f"a simulated trial has one metric and no other number; {_ONE}"
        yield source.problem(("metrics",), message, at_key=True)
    if settings.value == "best":
        message = "picks a report by one metric, whatever the others are there; return the values that count"
        yield source.problem(("value",), message)
    if mode == "ablate":
        message = f"an ablation study compares its arms by one metric; {_ONE}"
        yield source.problem(("metrics",), message, at_key=True)
        return
    if optimizer is not None and not optimizer.takes_several_metrics:
        name, others = type(optimizer).__name__, _others()
        message = f"{name} compares trials by one metric; of several use {others}, or {_ONE}"
        yield source.problem(("search", "optimizer"), message)
    if rule is not None and not rule.takes_several_metrics:
        message = f"{type(rule).__name__} stops trials by one metric; take it out, or {_ONE}"
        yield source.problem(("search", "early_stop"), message)
    stop = settings.search and settings.search.stop
    if stop and stop.target is not None:
        message = f"is a value of one metric; of several use no_better_for, or {_ONE}"
        yield source.problem(("search", "stop", "target"), message, at_key=True)


def _is_mapping(metrics: object) -> bool:
    return isinstance(metrics, dict)


def _others() -> str:
    """Return the names of the searchers that take several metrics."""
    found = [
        one.name
        for one in plugins.find_plugins(plugins.OPTIMIZERS)
        if getattr(one.plugin, "takes_several_metrics", False) and one.name != "single"
    ]
    return ", ".join(sorted(found))
