"""What a run has come to, in one sentence, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dotrain.report.page.study import effects_text
from dotrain.report.page.text import count, listed, number
from dotrain.report.reading import Run
from dotrain.report.resuming import resume_command
from dotrain.report.text import duration, params_text

_ENDINGS = {
    "finished": "finished in {}",
    "running": "has been running for {}",
    "crashed": "crashed after {}",
    "time_limit": "ended at its time limit after {}",
    "failed": "gave up after {}",
    "interrupted": "was interrupted after {}",
}
_FATES = {
    "finished": "finished",
    "stopped": "stopped early",
    "diverged": "diverged",
    "failed": "failed",
    "unfinished": "not finished",
}
_WHAT = {"search": "search", "run": "training run", "ablation": "ablation study"}


@dataclass(frozen=True)
class Verdict:
    """What comes first on the page.

    Attributes:
        kind: ``search``, ``run`` or ``ablation``.
        sentence: What ran, how it ended, what came out.
        note: What a reader must know before trusting it; or ``""``.
        command: What to type to go on; or ``""``.
        simulated: Whether nothing was trained.
    """

    kind: str
    sentence: str
    note: str
    command: str
    simulated: bool


def verdict_of(run: Run) -> Verdict:
    """Return what a run has come to."""
    summary = run.summary
    kind = kind_of(run)
    simulated = summary["simulated"]
    subject = f"The {'simulated ' if simulated else ''}{_WHAT[kind]} {run.header['name']}"
    ending = _ENDINGS.get(run.status, f"{run.status} after {{}}")
    outcome = effects_text(summary) if kind == "ablation" else _best_text(summary, kind)
    sentence = f"{subject} {ending.format(duration(summary['elapsed_s']))}: {outcome}"
    fates = _fates_text(summary["trials"], run.header.get("num_trials"))
    if summary["trials"]["total"] > 1 or kind == "ablation":
        sentence += f"; {fates}"
    note, command = _advice(run)
    return Verdict(kind, f"{sentence}.", note, command, simulated)


def kind_of(run: Run) -> str:
    """Return ``search``, ``run`` or ``ablation``."""
    if "study" in run.header:
        return "ablation"
    search = run.header["config"].get("search") or {}
    return "search" if search.get("space") or len(run.trials) > 1 else "run"


def _best_text(summary: Mapping[str, Any], kind: str) -> str:
    best, metric = summary["best"], summary["metric"]
    if best is None:
        if not summary["trials"]["total"]:
            return "no trial has been launched"
        ended = summary["trials"].get("unfinished", 0) == 0
        return "no trial gave a value" if ended else "no trial has given a value yet"
    if kind == "run":
        return f"{metric} is {number(best['value'])}"
    with_ = f" with {params_text(best['params'])}" if best["params"] else ""
    return f"the best {metric} is {number(best['value'])}, from {best['trial_id']}{with_}"


def _fates_text(counts: Mapping[str, int], planned: int | None) -> str:
    parts = [f"{counts[key]:,} {what}" for key, what in _FATES.items() if counts.get(key)]
    total = count(counts["total"], "trial")
    if planned is not None and planned > counts["total"]:
        total = f"{counts['total']:,} of {count(planned, 'trial')}"
    if not parts:
        return total
    return f"{total}: {listed(parts)}" if len(parts) > 1 else f"{total} {parts[0].split(' ', 1)[1]}"


def _advice(run: Run) -> tuple[str, str]:
    """Return what a reader must know, and the command to go on with."""
    if run.status == "finished":
        return "", ""
    if run.alive is not False and run.status == "running":
        return f"The run goes on ({run.reason}); this page shows it up to its latest record.", ""
    reason = run.reason[:1].upper() + run.reason[1:]
    command = resume_command(run.run_dir.path, run.header)
    return f"{reason}. What was recorded is safe; go on with:", command
