"""From a journal's header and trials to a result: the one place that tells one kind from another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dotrain.core.book import TrialBook
from dotrain.core.criteria import Criteria
from dotrain.core.front import Metrics
from dotrain.core.instructions import RunStatus
from dotrain.core.limits import Limits
from dotrain.core.trial import Trial, TrialState
from dotrain.results.base import RunResult
from dotrain.results.front import FrontResult
from dotrain.results.gates import Gate
from dotrain.results.search import SearchResult
from dotrain.results.study import StudyResult
from dotrain.space import Searchspace


def kind_of(header: Mapping[str, Any]) -> type[RunResult]:
    """Return which kind of result a run has.

    Args:
        header: The journal's header.
    """
    if "study" in header:
        return StudyResult
    return FrontResult if "metrics" in header else SearchResult


def result_of(
    header: Mapping[str, Any],
    trials: Iterable[Trial],
    status: RunStatus,
    elapsed_s: float,
    run_dir: Path,
    *,
    error: str = "",
    gates: Sequence[Gate] = (),
    freed_now: Mapping[str, int] | None = None,
    ended_early: str = "",
) -> RunResult:
    """Return what a search, a single run or an ablation has come to.

    Args:
        header: The journal's header.
        trials: All trials; those that were only drawn are left out, they may be drawn anew.
        status: How the run ended, or how it stands.
        elapsed_s: How long it took, in seconds; rounded to the millisecond.
        run_dir: The run directory.
        error: What ended it against the user's will, or ``""``.
        gates: What it is to meet.
        freed_now: As of `RunResult`.
        ended_early: As of `RunResult`.
    """
    launched = [trial for trial in trials if trial.state is not TrialState.NEW]
    found = status, round(elapsed_s, 3), run_dir, error, gates, freed_now, ended_early
    return kind_of(header)(header, launched, *found)


def expected_result(header: Mapping[str, Any], space: Searchspace) -> RunResult:
    """Return a result of the shape that a run's will have; its numbers mean nothing.

    Args:
        header: The journal's, as the run will begin with.
        space: What is searched.
    """
    book = TrialBook(0, Limits(), criteria=Criteria(metrics=Metrics.of(header)))
    header = kind_of(header).example(header, space, book)
    return result_of(header, book.trials.values(), RunStatus.FINISHED, 1.0, Path("RUN_DIR"))
