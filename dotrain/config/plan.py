"""The plan of a config: what a run of it will do, in numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dotrain.config.loaded import LoadedConfig
from dotrain.config.shipping import Shipment
from dotrain.executors.base import open_ports_text


def make_plan(loaded: LoadedConfig) -> dict[str, Any]:
    """Return what ``dotrain check`` prints: trials, rungs, total steps, slots.

    Counts are what a run does at least; retries of lost trials come on top, failures and early
    stops go off.
    """
    settings = loaded.settings
    threads = loaded.executor.threads(loaded.strategy.slots)
    gpus = loaded.executor.gpus(loaded.strategy.slots)
    plan: dict[str, Any] = {
        "name": settings.name,
        "mode": "search" if settings.search else "single run",
        "train": f"{loaded.train.file or settings.train.rpartition(':')[0]}:{loaded.train.function}",
        "metric": settings.metric,
        "direction": settings.direction,
        **({"metrics": dict(settings.metrics)} if settings.metrics else {}),
        "seed": settings.seed,
        "optimizer": type(loaded.optimizer).__name__,
        "early_stop": type(loaded.early_stop).__name__,
        "hparams": dict(settings.hparams),
        "space": {name: str(domain) for name, domain in loaded.space.domains.items()},
        "space_constraints": [constraint.text for constraint in loaded.space.constraints],
        "space_share": loaded.space.share._asdict() if loaded.space.constraints else None,
        "cluster": settings.cluster.kind,
        "slots": loaded.executor.slots(loaded.strategy.slots),
        "threads": None if threads is None else asdict(threads),
        "resources": str(loaded.executor.needs),
        "gpus": None if gpus is None else [list(one) for one in gpus],
        "slots_per_trial": loaded.strategy.slots,
        "strategy": settings.distribution.strategy,
        "ships": _ships(loaded.shipment),
        "storage": settings.storage,
        "env": list(loaded.environment.values()),
        "notes": [*map(str, loaded.notes)],
        "warnings": [str(warning) for warning in loaded.warnings],
    }
    if loaded.choice is not None:
        plan["notes"].append(f"search.optimizer: {loaded.choice}")
    if text := open_ports_text(loaded.executor, loaded.strategy.open_ports):
        plan["notes"].append(text)
    if loaded.prepare is not None:
        plan["prepare"] = f"{loaded.prepare.function}(), {_prepared_where(loaded)}"
    if loaded.study is not None:
        arms, seeds = len(loaded.study.arms), loaded.study.seeds
        plan["ablation"] = {"arms": arms - 1, "seeds": seeds, "trials": arms * seeds}
        plan["notes"] += [
            f"dotrain ablate: {arms - 1} arms and the baseline, {seeds} seeds each: "
            f"{arms * seeds} trials"
        ]
    search = loaded.optimizer.plan()
    if search is not None:
        plan["configurations"] = search.configurations
        repeats = settings.search.repeats if settings.search else 1
        plan["launches"] = search.launches * repeats
        if repeats > 1:
            plan["repeats"] = repeats
            plan["notes"].append(
                f"each configuration is trained {repeats} times at most: one that is worse than the best in the "
                "repeats that it has isn't trained again"
                if not loaded.optimizer.gives_budget
                else f"each configuration is trained {repeats} times with each budget"
            )
        if search.rungs:
            plan["rungs"] = [rung._asdict() for rung in search.rungs]
            plan["steps"] = search.steps
            plan["steps_from_scratch"] = search.steps_from_scratch
        plan["notes"] += search.notes
    return plan


def _prepared_where(loaded: LoadedConfig) -> str:
    """Say where ``prepare`` is called; whether it leaves threads, only calling it would tell."""
    if loaded.executor.is_virtual:
        return "not called: nothing is trained"
    if loaded.executor.runs_in_this_process:
        return "once, in this process"
    return "once on each host; if it leaves threads, in each attempt (the run's log names whose)"


def _ships(shipment: Shipment) -> dict[str, Any]:
    """Return what goes to workers that don't see the user's files."""
    return {
        "code": shipment.code,
        "package_data": shipment.data,
        "named": shipment.named,
        "bytes": shipment.size,
        "table": shipment.table or None,
        "table_bytes": shipment.table_size,
        "left_out": list(shipment.left_out),
    }
