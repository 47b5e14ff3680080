"""The result of an ablation study: one plain dict.

Everything that is shown is made from it alone, so ``result.json`` is enough to show it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotrain.ablation.statistics import compare, holm, mean_ci95, verdict
from dotrain.ablation.study import BASELINE
from dotrain.core.book import TrialBook
from dotrain.core.policy import sign_of
from dotrain.core.trial import Trial, TrialState
from dotrain.report.marks import marks_in, marks_text
from dotrain.report.resuming import how_to_resume
from dotrain.report.summary import failures, launched, trial_counts


def summarize_study(
    header: Mapping[str, Any], book: TrialBook, status: str, elapsed_s: float, run_dir: Path
) -> dict[str, Any]:
    """Return the result of a study, as far as it has got.

    Args:
        header: The journal's: name, metric, direction, and ``study`` with arms, seeds, ``adds``,
            and, by the arm's name, the parameters of the models (``params``; of the baseline all,
            of the others the difference) and what was changed in them (``changes``).
        book: All trials.
        status: How the run ended.
        elapsed_s: How long it took, in seconds.
        run_dir: The run directory.
    """
    study = header["study"]
    trials = launched(book)
    runs: dict[str, dict[int, Trial]] = {arm["name"]: {} for arm in study["arms"]}
    for trial in trials:
        if trial.arm:
            runs[trial.arm.name][trial.arm.seed_index] = trial
    baseline = _metric(runs[BASELINE])
    arms = [arm for arm in study["arms"] if arm["name"] != BASELINE]
    effects = [compare(baseline, _metric(runs[arm["name"]])) for arm in arms]
    adjusted = holm([effect.p if effect else None for effect in effects])
    compared = sum(effect is not None for effect in effects)
    sign, adds = sign_of(header["direction"]), bool(study["adds"])
    shown = {arm["name"]: _arm(arm, runs[arm["name"]], study) for arm in study["arms"]}
    components = []
    for arm, effect, p_holm in zip(arms, effects, adjusted, strict=True):
        components.append(
            {
                "name": arm["name"],
                "kind": arm["kind"],
                **shown[arm["name"]],
                "delta": effect and effect.delta,
                "delta_ci95": effect and effect.delta_ci95 and list(effect.delta_ci95),
                "p": effect and effect.p,
                "p_holm": p_holm,
                "n": effect.n if effect else 0,
                "verdict": verdict(effect, p_holm, sign, adds, compared),
            }
        )
    result: dict[str, Any] = {
        "run_dir": str(run_dir),
        "name": header["name"],
        "status": status,
        "metric": header["metric"],
        "direction": header["direction"],
        "adds": adds,
        "seeds": list(study["seeds"]),
        "baseline": shown[BASELINE],
        "components": components,
        "trials": trial_counts(book),
        "elapsed_s": round(elapsed_s, 3),
        "resume": how_to_resume(header, status, run_dir),
        **marks_in(header, trials),
    }
    if book.counts[TrialState.FAILED]:
        result["failures"] = failures(trials, run_dir)
    return result


def _metric(runs: Mapping[int, Trial]) -> dict[int, float]:
    """Return the metric by the seed's index, of the runs that have come to an end."""
    return {
        index: trial.final_metric
        for index, trial in runs.items()
        if trial.final_metric is not None
        and trial.state in (TrialState.FINISHED, TrialState.STOPPED)
    }


def _arm(
    arm: Mapping[str, Any], runs: Mapping[int, Trial], study: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is shown of every arm, the baseline too.

    Args:
        arm: Its part of the header.
        runs: Its trials by the seed's index.
        study: The header's.
    """
    name, seeds = arm["name"], study["seeds"]
    metric = _metric(runs)
    mean, interval = mean_ci95(list(metric.values())) if metric else (None, None)
    done = [runs[index] for index in metric]
    paces = [trial.busy_s / trial.steps_run for trial in done if trial.steps_run]
    shown: dict[str, Any] = {
        "left_out": list(arm["left_out"]),
        "changes": list(study.get("changes", {}).get(name, [])),
        "values": [metric.get(index) for index in range(len(seeds))],
        "mean": mean,
        "ci95": interval and list(interval),
        "params": study.get("params", {}).get(name),
        "seconds_per_step": sum(paces) / len(paces) if paces else None,
    }
    if done and not paces:
        shown["seconds_per_run"] = sum(trial.busy_s for trial in done) / len(done)
    shown["failed"] = [
        {"seed": seeds[index], "trial_id": trial.trial_id, "message": trial.error.message}
        for index, trial in sorted(runs.items())
        if trial.error is not None
    ]
    ordered = [runs.get(index) for index in range(len(seeds))]
    shown["states"] = [trial and str(trial.state) for trial in ordered]
    shown["marks"] = ["" if trial is None else marks_text(trial) for trial in ordered]
    shown["diverged"] = [
        {"seed": seeds[index], "trial_id": trial.trial_id, "message": trial.divergence}
        for index, trial in sorted(runs.items())
        if trial.divergence
    ]
    return shown
