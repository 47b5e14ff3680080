"""What `ablate --from RUN` takes from an earlier search."""

from __future__ import annotations

import os
import sys

from dotrain.config.writing import to_yaml
from dotrain.core.marks import Mark
from dotrain.errors import UsageError
from dotrain.results import best_trial
from dotrain.runs.finding import find_run
from dotrain.runs.spaces import had_before
from dotrain.store import RunDir, read_journal, replay

#: What must be known of hyperparameters before others are trained with them.
_DOUBTFUL = {
    Mark.SIMULATED,
    Mark.INHERITED,
    Mark.OTHER_CODE,
    Mark.RECOUNTED,
    Mark.NOT_LOADED,
    Mark.PROMOTION_FAILED,
    Mark.OVER_BUDGET,
}


def best_of(
    called: str | os.PathLike[str], runs_dir: str | os.PathLike[str], *, quiet: bool
) -> list[str]:
    """Return the best hyperparameters of a run as overrides.

    Raises:
        UsageError: If there are none.
    """
    path = find_run(called, runs_dir, searches_first=True, quiet=quiet)
    records = list(read_journal(RunDir(path).journal))
    state = replay(records)
    if state.header.get("metrics"):
        raise UsageError(
            f"--from {path}: of a search by several metrics no trial is the best; give the hparams of one of its front "
            f"(dotrain show {path})"
        )
    best = best_trial(state.book.trials.values(), state.header["direction"])
    if best is None:
        raise UsageError(f"--from {path}: no trial there has a result")
    if best.arm is not None:
        raise UsageError(f"--from {path}: of an ablation no trial is the best")
    for mark in _DOUBTFUL & {*best.marks}:
        sys.stderr.write(f"warning: --from {path}: {best.trial_id}, its best trial, is marked ")
        sys.stderr.write(f"'{mark}': {best.notes[mark]}\n")
    params = {**had_before(records), **best.params}
    return [f"hparams.{name}={to_yaml(value, one_line=True)}" for name, value in params.items()]
