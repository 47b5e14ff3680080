"""The journal's first record: what readers must know of a run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from dotrain.ablation.runner import StudyRunner
from dotrain.ablation.study import BASELINE
from dotrain.core.sampling import Earlier
from dotrain.runs.chosen import told_of_choice
from dotrain.runs.definition import Experiment
from dotrain.store import Record, told_in_header
from dotrain.versions import environment, own_version


def make_header(
    experiment: Experiment, started_at: str = "", run_dir: Path | None = None
) -> Record:
    """Return the journal's first record.

    Args:
        experiment: What is run.
        started_at: When, in the notation of ISO 8601.
        run_dir: The run directory, if there is one yet.
    """
    code = experiment.functions.code
    return {
        "name": experiment.name,
        "metric": experiment.metric,
        "direction": experiment.direction,
        **({"metrics": dict(experiment.metrics)} if experiment.metrics else {}),
        "seed": experiment.seed,
        "num_trials": experiment.num_trials,
        "limits": asdict(experiment.limits),
        "slots_per_trial": experiment.strategy.slots,
        "simulated": experiment.simulated,
        "keep": experiment.settings.checkpoints.keep,
        "guessed": list(experiment.guessed),
        "code": {"digest": code.digest, "files": code.files, "archived": experiment.archived},
        "started_at": started_at,
        "dotrain": own_version(),
        "environment": environment(),
        **({} if run_dir is None else told_in_header(experiment.folder, run_dir)),
        "config": experiment.config,
        **({"earlier": [_told(one) for one in experiment.earlier]} if experiment.earlier else {}),
        **({} if experiment.rows is None else {"data": experiment.rows.to_json()}),
        **told_of_choice(experiment),
        **_study_of(experiment),
    }


def _told(earlier: Earlier) -> dict[str, Any]:
    """Return an earlier result; with one metric, as every version reads it."""
    told = asdict(earlier)
    return told if earlier.values else {k: v for k, v in told.items() if k != "values"}


def _study_of(experiment: Experiment) -> dict[str, Any]:
    """Return what readers of the journal must know of an ablation study."""
    runner = experiment.optimizer
    if not isinstance(runner, StudyRunner):
        return {}
    study, rehearsal = runner.study, experiment.rehearsal
    kinds = {BASELINE: "baseline", **{one.name: one.kind for one in study.components.values()}}
    arms = [
        {
            "name": arm.name,
            "kind": kinds.get(arm.name, "pair"),
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
            "changes": {**(rehearsal.changes if rehearsal else {}), **experiment.of_columns},
        }
    }
