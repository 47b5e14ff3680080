"""The result of a run: one plain dict, for ``result.json`` and ``--json``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dotrain.core.book import TrialBook
from dotrain.core.failure import Failure
from dotrain.core.policy import Direction, sign_of
from dotrain.core.trial import Trial, TrialState
from dotrain.report.marks import marks_in
from dotrain.report.resuming import how_to_resume
from dotrain.report.text import number_text
from dotrain.store import RunDir

#: How a trial can end, in the order in which reports count them.
ENDINGS = (TrialState.FINISHED, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED)


def counts_text(counts: Mapping[str, int]) -> str:
    """Return how many trials there are, and what became of them.

    Args:
        counts: What `trial_counts` returned.
    """
    rare = (*map(str, ENDINGS[1:]), "unfinished")
    parts = [f"{counts['finished']} finished"]
    parts += [f"{counts[name]} {name}" for name in rare if counts.get(name)]
    return f"{counts['total']} trials ({', '.join(parts)})"


class FailureGroup(NamedTuple):
    """Trials that failed in the same place in the same way."""

    size: int
    #: The first of them.
    trial: Trial


def ranked(trials: Iterable[Trial], direction: Direction) -> list[Trial]:
    """Return the trials that have a value, the best first, ties in the order of sampling.

    A value counts whatever has become of the trial since: one that is being promoted, or that
    failed at its promotion, keeps what it had.
    """
    sign = sign_of(direction)
    valued = [trial for trial in trials if trial.final_metric is not None]
    return sorted(valued, key=lambda t: (-sign * (t.final_metric or 0.0), t.number))


def best_trial(trials: Iterable[Trial], direction: Direction) -> Trial | None:
    """Return the first of `ranked`, or None."""
    return next(iter(ranked(trials, direction)), None)


class LastReport(NamedTuple):
    """The last report of a trial that runs."""

    trial_id: str
    step: int | None
    value: float


def ahead_text(
    running: Iterable[LastReport], best: float | None, direction: Direction
) -> str | None:
    """Return the best report of trials that run, if no trial that has ended is as good.

    Args:
        running: Of the trials that run.
        best: The best value of those that have ended, or None.
        direction: ``max`` or ``min``.
    """
    sign = sign_of(direction)
    first = max(running, key=lambda last: sign * last.value, default=None)
    if first is None or (best is not None and sign * first.value <= sign * best):
        return None
    return f"running {number_text(first.value)} ({first.trial_id}, step {first.step})"


def failure_key(error: Failure) -> tuple[str, str]:
    """Return what failures in the same place in the same way have in common."""
    # An exception's name is what two have in common; other messages differ by numbers.
    what = error.message.split(":")[0] if error.kind.names_exception else error.message
    return error.location, re.sub(r"[-\d.e+]+", "#", what)


def failure_groups(trials: Iterable[Trial]) -> list[FailureGroup]:
    """Group failed trials by place and kind of error, the largest group first."""
    counts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], Trial] = {}
    for trial in trials:
        if trial.error is not None:
            key = failure_key(trial.error)
            counts[key] += 1
            first.setdefault(key, trial)
    return [FailureGroup(count, first[key]) for key, count in counts.most_common()]


def summarize(
    header: Mapping[str, Any], book: TrialBook, status: str, elapsed_s: float, run_dir: Path
) -> dict[str, Any]:
    """Return the result of a run.

    Args:
        header: The journal's header: name, metric, direction, seed, config.
        book: All trials.
        status: How the run ended.
        elapsed_s: How long it took, in seconds.
        run_dir: The run directory.
    """
    trials = launched(book)
    best = best_trial(trials, header["direction"])
    promotions = sum(t.promotions for t in trials)
    result: dict[str, Any] = {
        "run_dir": str(run_dir),
        "name": header["name"],
        "status": status,
        "metric": header["metric"],
        "direction": header["direction"],
        "seed": header["seed"],
        "best": best
        and {
            "trial_id": best.trial_id,
            "value": best.final_metric,
            "params": best.params,
            "marks": [str(mark) for mark in best.marks],
        },
        "trials": trial_counts(book),
        "steps": sum(t.steps_run for t in trials),
        "elapsed_s": round(elapsed_s, 3),
        "resume": how_to_resume(header, status, run_dir),
        **marks_in(header, trials),
    }
    if promotions:
        result["promotions"] = {
            "total": promotions,
            "from_checkpoint": sum(t.continued for t in trials),
            "steps_saved": sum(t.steps_saved for t in trials),
        }
        result["rungs"] = _rungs(trials)
    fixed = header.get("config", {}).get("hparams")
    if fixed:
        result["hparams"] = fixed
    if book.counts[TrialState.FAILED]:
        result["failures"] = failures(trials, run_dir)
    return result


def launched(book: TrialBook) -> list[Trial]:
    """Return the trials that a journal tells of; what was only drawn may be drawn anew."""
    return [trial for trial in book.trials.values() if trial.state is not TrialState.NEW]


def trial_counts(book: TrialBook) -> dict[str, int]:
    """Return how many trials there are by what became of them; ``unfinished`` only if any are."""
    count = book.counts
    counts = {
        "total": len(book.trials) - count[TrialState.NEW],
        **{str(state): count[state] for state in ENDINGS},
    }
    unfinished = count[TrialState.WAITING] + len(book.active)
    return {**counts, "unfinished": unfinished} if unfinished else counts


def failures(trials: Iterable[Trial], run_dir: Path) -> list[dict[str, Any]]:
    """Return what `failure_groups` found, for a result."""
    return [_failure(group, run_dir) for group in failure_groups(trials)]


def _rungs(trials: Iterable[Trial]) -> list[dict[str, float]]:
    finished = Counter(r.budget for t in trials for r in t.results if r.budget is not None)
    return [{"budget": budget, "trials": finished[budget]} for budget in sorted(finished)]


def _failure(group: FailureGroup, run_dir: Path) -> dict[str, Any]:
    trial = group.trial
    assert trial.error is not None
    log = RunDir(run_dir).trial_log(trial.trial_id)
    failure: dict[str, Any] = {
        "count": group.size,
        "kind": trial.error.kind,
        "message": trial.error.message,
        "location": trial.error.location,
        "trial_id": trial.trial_id,
        "params": trial.varied,
        "log": str(log),
    }
    if trial.error.kind.was_cut_off:
        # There is no line of the user's to show; what was printed last comes closest.
        failure["last_lines"] = _last_lines(log)
    return failure


def _last_lines(log: Path, count: int = 3) -> list[str]:
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
