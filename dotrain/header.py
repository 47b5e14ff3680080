"""The journal's first record: what readers must know of a run."""

from __future__ import annotations

import platform
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dotrain.ablation.runner import StudyRunner
from dotrain.ablation.study import BASELINE
from dotrain.definition import Experiment
from dotrain.store import Record


def make_header(experiment: Experiment, started_at: str) -> Record:
    """Return the journal's first record.

    Args:
        experiment: What is run.
        started_at: When, in the notation of ISO 8601.
    """
    return {
        "name": experiment.name,
        "metric": experiment.metric,
        "direction": experiment.direction,
        "seed": experiment.seed,
        "num_trials": experiment.num_trials,
        "limits": asdict(experiment.limits),
        "slots_per_trial": experiment.strategy.slots,
        "started_at": started_at,
        "dotrain": version("dotrain"),
        "environment": _environment(),
        "config_dir": str(experiment.config_dir),
        "config": dict(experiment.config),
        **_study_of(experiment),
    }


#: Packages that a result may depend on.
_PACKAGES = ("dask", "distributed", "numpy", "tensorflow", "keras", "torch", "scikit-learn")


def _environment() -> dict[str, Any]:
    """Return the versions of what drives the run; nothing is imported for it."""
    packages = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
    }


def _study_of(experiment: Experiment) -> dict[str, Any]:
    """Return what readers of the journal must know of an ablation study."""
    runner = experiment.optimizer
    if not isinstance(runner, StudyRunner):
        return {}
    study, rehearsal = runner.study, experiment.rehearsal
    arms = [
        {
            "name": arm.name,
            "kind": study.components[arm.name].kind
            if arm.name in study.components
            else "baseline"
            if arm.name == BASELINE
            else "pair",
            "left_out": list(arm.left_out),
        }
        for arm in study.arms
    ]
    return {
        "study": {
            "arms": arms,
            "seeds": runner.seeds,
            "adds": study.adds,
            "params": rehearsal.params if rehearsal else {},
            "changes": rehearsal.changes if rehearsal else {},
        }
    }
