"""A run as test cases, for systems that know nothing else: what passed, and what didn't and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dotrain.core.trial import Trial, TrialState
from dotrain.results.arms import ArmResult
from dotrain.results.gates import GateOutcome
from dotrain.results.text import params_text
from dotrain.store import RunDir


class Verdict(NamedTuple):
    """What keeps a case from having passed.

    Attributes:
        tag: ``failure``, ``error`` or ``skipped``.
        message: Why, in a line.
        kind: Of failure.
        text: More about it, such as a traceback.
    """

    tag: str
    message: str
    kind: str = ""
    text: str = ""


class Case(NamedTuple):
    """A test case, as CI systems call it."""

    group: str
    name: str
    time_s: float = 0.0
    verdict: Verdict | None = None
    output: str = ""


def gate_case(outcome: GateOutcome) -> Case:
    """Return the case of a gate."""
    verdict = None if outcome.met else Verdict("failure", outcome.message, "gate")
    return Case("gates", outcome.gate, verdict=verdict, output=outcome.message)


def trial_case(trial: Trial, metric: str, run_dir: Path, further: Sequence[str] = ()) -> Case:
    """Return the case of a trial of a search.

    Args:
        trial: The trial.
        metric: The main one.
        run_dir: The run directory.
        further: The other metrics, where there are several.
    """
    name = f"{trial.trial_id} {params_text(trial.params)}".strip()
    told = [_outcome(trial, metric, further), *_marks_of([trial])]
    told.append(f"log: {RunDir(run_dir).trial_log(trial.folder)}")
    return Case("trials", name, trial.busy_s, _verdict(trial), "\n".join(filter(None, told)))


def _outcome(trial: Trial, metric: str, further: Sequence[str]) -> str:
    if trial.divergence:
        return f"diverged: {trial.divergence}"
    if trial.final_metric is None:
        return ""
    steps = "1 step" if trial.steps_run == 1 else f"{trial.steps_run} steps"
    beside = zip(further, trial.values[1:], strict=False)
    values = [f"{metric} {trial.final_metric!r}", *(f"{name} {value!r}" for name, value in beside)]
    text = f"{', '.join(values)} after {steps}"
    if trial.state is TrialState.STOPPED:
        why = next((s.what for s in reversed(trial.story) if s.state is TrialState.STOPPING), "")
        text += f"\nstopped early{f': {why}' if why else ''}"
    return text


def _failure(trial: Trial) -> Verdict | None:
    error = trial.error
    if error is None:
        return None
    tag = "error" if error.kind.is_ours else "failure"
    where = f" (on {trial.host})" if trial.host else ""
    return Verdict(tag, error.message + where, error.kind, error.traceback or error.location)


def _verdict(trial: Trial) -> Verdict | None:
    if trial.error is not None or trial.state.ended:
        return _failure(trial)
    why = trial.story[-1].what if trial.story else "never launched"
    return Verdict("skipped", f"{trial.state}: {why}")


def arm_case(arm: ArmResult, metric: str) -> Case:
    """Return the case of an arm of a study."""
    runs = [trial for _, trial in arm.launched]
    diverged = [f"diverged: {run.trial_id} {run.divergence}" for run in runs if run.divergence]
    output = "\n".join([*_effect(arm, metric), *diverged, *_marks_of(runs)])
    busy_s = sum(trial.busy_s for trial in runs)
    return Case("components", arm.name, busy_s, _arm_verdict(arm), output.strip())


def _marks_of(runs: Sequence[Trial]) -> list[str]:
    """Return what must be known of some trials, each thing once."""
    return list(dict.fromkeys(f"{mark}: {run.notes[mark]}" for run in runs for mark in run.marks))


def _effect(arm: ArmResult, metric: str) -> list[str]:
    (mean, _), effect = arm.mean_ci95, arm.effect
    lines = [] if mean is None else [f"mean {metric} {mean!r}"]
    if effect is not None:
        interval = effect.delta_ci95
        within = f", 95 % interval {interval[0]!r} to {interval[1]!r}" if interval else ""
        lines.append(f"difference from the baseline {effect.delta!r}{within}")
        lines.append(f"p (Holm) {arm.p_holm!r}, {effect.n} pairs")
    return [*lines, *([arm.verdict] if arm.verdict else [])]


def _arm_verdict(arm: ArmResult) -> Verdict | None:
    failed = [(run, verdict) for _, run in arm.launched if (verdict := _failure(run))]
    total = len(arm.seeds)
    if failed:
        text = "\n\n".join(
            f"seed {run.seed}, {run.trial_id}: {verdict.message}\n{verdict.text}"
            for run, verdict in failed
        )
        first = failed[0][1]
        message = f"{len(failed)} of {total} runs failed: {first.message}"
        return first._replace(message=message, text=text)
    if arm.missing:
        return Verdict("skipped", f"{arm.missing} of {total} runs have not come to their end")
    return None
