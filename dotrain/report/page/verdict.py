"""What a run has come to, in one sentence, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from dotrain.core.instructions import RunStatus
from dotrain.report.page.study import effects_text
from dotrain.report.page.text import count, listed, number
from dotrain.report.reading import Run
from dotrain.report.text import duration
from dotrain.results import Counts, FrontResult, RunResult, SearchResult
from dotrain.results.resuming import resume_command
from dotrain.results.text import params_text
from dotrain.results.trials import values_of

_ENDINGS = {
    RunStatus.FINISHED: "finished in {}",
    RunStatus.RUNNING: "has been running for {}",
    RunStatus.CRASHED: "crashed after {}",
    RunStatus.TIME_LIMIT: "ended at its time limit after {}",
    RunStatus.FAILED: "gave up after {}",
    RunStatus.INTERRUPTED: "was interrupted after {}",
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
        sentence: What ran, how it ended, what came out.
        note: What a reader must know before trusting it; or ``""``.
        command: What to type to go on; or ``""``.
    """

    sentence: str
    note: str
    command: str


def verdict_of(run: Run) -> Verdict:
    """Return what a run has come to."""
    result = run.result
    simulated = "simulated " if result.caveats.simulated else ""
    subject = f"The {simulated}{_WHAT[result.kind]} {result.name}"
    ending = _ENDINGS.get(run.status, f"{run.status} after {{}}")
    sentence = f"{subject} {ending.format(duration(result.elapsed_s))}: {_outcome(result)}"
    if result.counts.total > 1 or result.kind == "ablation":
        sentence += f"; {_fates_text(result.counts, run.header.get('num_trials'))}"
    return Verdict(f"{sentence}.", *_advice(run))


@singledispatch
def _outcome(result: RunResult) -> str:
    """Return in a clause what came out."""
    raise NotImplementedError


_outcome.register(effects_text)


@_outcome.register
def _best_text(result: SearchResult) -> str:
    best = result.best
    if best is None:
        return _nothing_text(result)
    if result.kind == "run":
        return f"{result.metric} is {number(best.final_metric)}"
    with_ = f" with {params_text(best.params)}" if best.params else ""
    return f"the best {result.metric} is {number(best.final_metric)}, from {best.trial_id}{with_}"


@_outcome.register
def _front_text(result: FrontResult) -> str:
    if not result.front:
        return _nothing_text(result)
    if result.kind == "run":
        values = values_of(result.front[0], result.metrics).items()
        return listed([f"{name} is {number(value)}" for name, value in values])
    return f"{count(len(result.front), 'trial')} on the Pareto front, {result.ranges_text}"


def _nothing_text(result: RunResult) -> str:
    if not result.counts.total:
        return "no trial has been launched"
    ended = result.counts.unfinished == 0
    return "no trial gave a value" if ended else "no trial has given a value yet"


def _fates_text(counts: Counts, planned: int | None) -> str:
    parts = [f"{n:,} {what}" for fate, what in _FATES.items() if (n := getattr(counts, fate))]
    total = count(counts.total, "trial")
    if planned is not None and planned > counts.total:
        total = f"{counts.total:,} of {count(planned, 'trial')}"
    if not parts:
        return total
    return f"{total}: {listed(parts)}" if len(parts) > 1 else f"{total} {parts[0].split(' ', 1)[1]}"


def _advice(run: Run) -> tuple[str, str]:
    """Return what a reader must know, and the command to go on with."""
    if run.status is RunStatus.FINISHED:
        why = run.result.ended_early
        return f"It ended before all was tried: {why}." if why else "", ""
    if run.alive is not False and run.status is RunStatus.RUNNING:
        return f"The run goes on ({run.reason}); this page shows it up to its latest record.", ""
    reason = run.reason[:1].upper() + run.reason[1:]
    command = resume_command(run.run_dir.path, run.header)
    return f"{reason}. What was recorded is safe; go on with:", command
