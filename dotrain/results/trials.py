"""What is told of the trials of a run: counted, row by row, and those that failed in groups."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, final

from dotrain.core.failure import Failure
from dotrain.core.trial import Trial, TrialState
from dotrain.results.marks import marks_text
from dotrain.store import RunDir


@final
@dataclass(frozen=True)
class Counts:
    """How many trials there are, and what became of them."""

    total: int
    finished: int
    stopped: int
    diverged: int
    failed: int
    unfinished: int

    @classmethod
    def of(cls, trials: Iterable[Trial]) -> Counts:
        """Count trials by their states."""
        count = Counter(trial.state for trial in trials)
        ended = {str(state): count[state] for state in TrialState if state.ended}
        total = count.total()
        return cls(total=total, unfinished=total - sum(ended.values()), **ended)

    def to_json(self) -> dict[str, int]:
        """Return what a result holds; ``unfinished`` only if any are."""
        return {key: n for key, n in asdict(self).items() if n or key != "unfinished"}

    def __str__(self) -> str:
        _, *fates = self.to_json().items()
        told = [f"{n} {fate}" for fate, n in fates if n or fate == "finished"]
        return f"{self.total} trials ({', '.join(told)})"


def trial_rows(trials: Iterable[Trial], metric: str) -> list[dict[str, Any]]:
    """Return a flat row for each trial, all with the same columns, hyperparameters by their names.

    What trials have used has columns where it is known of any.

    A hyperparameter, a metric or a column that shares a name with one before it keeps a prefix:
    ``param.state``, ``metric.seconds``.
    """
    trials = list(trials)
    params = list(dict.fromkeys(name for trial in trials for name in trial.varied))
    others = list(dict.fromkeys(name for trial in trials for name in trial.metrics or ()))
    used = any(trial.usage is not None for trial in trials)
    rows = []
    for trial in trials:
        row: dict[str, Any] = {
            "trial": trial.trial_id,
            "state": str(trial.state),
            metric: trial.final_metric,
            "steps": trial.steps_run,
            "budget": trial.budget,
            "attempts": trial.attempt,
            "seconds": round(trial.busy_s, 3),
        }
        if used:
            peak = trial.usage and trial.usage.peak_bytes
            row["cpu_s"] = trial.usage and trial.usage.cpu_s
            row["peak_mb"] = None if peak is None else round(peak / 1e6, 1)
        fixed = {*row, "marks", "error"}
        columns = {name: f"param.{name}" if name in fixed else name for name in params}
        row.update({column: trial.varied.get(name) for name, column in columns.items()})
        taken = {*row, "marks", "error"}
        for name in others:
            if name != metric:
                column = f"metric.{name}" if name in taken else name
                row[column] = (trial.metrics or {}).get(name)
        row["marks"] = marks_text(trial)
        row["error"] = trial.error.message if trial.error else None
        rows.append(row)
    return rows


def failure_key(error: Failure) -> tuple[str, str]:
    """Return what failures in the same place in the same way have in common."""
    # An exception's name is what two have in common; other messages differ by numbers.
    what = error.message.split(":")[0] if error.kind.names_exception else error.message
    return error.location, re.sub(r"[-\d.e+]+(,\d+)*", "#", what)


class FailureGroup(NamedTuple):
    """Trials that failed in the same place in the same way: how many, and the first of them."""

    size: int
    trial: Trial
    error: Failure
    log: Path

    @property
    def last_lines(self) -> list[str]:
        """Of the log, where no line of the user's code is to blame: they come closest."""
        return _last_lines(self.log) if self.error.kind.was_cut_off else []

    def to_json(self) -> dict[str, Any]:
        """Return what a result holds."""
        error = self.error
        return {
            "count": self.size,
            "kind": error.kind,
            "message": error.message,
            "location": error.location,
            "trial_id": self.trial.trial_id,
            "params": self.trial.varied,
            "log": str(self.log),
            **({"last_lines": self.last_lines} if error.kind.was_cut_off else {}),
        }


def failure_groups(trials: Iterable[Trial], run_dir: Path) -> list[FailureGroup]:
    """Group failed trials by place and kind of error, the largest group first."""
    found: dict[tuple[str, str], FailureGroup] = {}
    for trial in trials:
        if trial.error is not None:
            log = RunDir(run_dir).trial_log(trial.trial_id)
            key = failure_key(trial.error)
            group = found.setdefault(key, FailureGroup(0, trial, trial.error, log))
            found[key] = group._replace(size=group.size + 1)
    return sorted(found.values(), key=lambda group: -group.size)


def _last_lines(log: Path, count: int = 3) -> list[str]:
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []
