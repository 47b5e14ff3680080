"""What is told of the trials of a run: counted, and row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from statistics import stdev
from typing import Any, final

from dotrain.core.trial import Trial, TrialState
from dotrain.results.marks import marks_text
from dotrain.results.text import number_text, printable


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


#: Columns that are no metric's, and that of the front.
_FIXED = {"trial", "state", "steps", "budget", "attempts", "seconds", "marks", "error"}
_FIXED |= {"cpu_s", "peak_mb", "host"}
_FRONT = "front"


def metric_columns(metrics: Collection[str]) -> dict[str, str]:
    """Return the column of each metric: its name, with a prefix where another column has that."""
    taken = _FIXED | ({_FRONT} if len(metrics) > 1 else set())
    return {name: f"metric.{name}" if name in taken else name for name in metrics}


def values_of(trial: Trial, metrics: Iterable[str]) -> dict[str, float | None]:
    """Return a trial's value of each metric, the main one first; None where it has none.

    One that was stopped before a report told of all of several metrics has that of the main one alone.
    """
    main, *others = metrics
    told = trial.values[1:] or (None,) * len(others)
    return {main: trial.final_metric, **dict(zip(others, told, strict=True))}


def values_text(trial: Trial, metrics: Iterable[str]) -> str:
    """Return what of these a trial has, in a line: ``accuracy 0.91, latency_ms 3.2``; ``""`` if nothing."""
    values = values_of(trial, metrics).items()
    return printable(
        ", ".join(f"{name} {number_text(value)}" for name, value in values if value is not None)
    )


def trial_rows(
    trials: Iterable[Trial],
    metrics: Collection[str],
    front: Collection[Trial] | None = None,
) -> list[dict[str, Any]]:
    """Return a flat row for each trial, all with the same columns, hyperparameters by their names.

    What trials have used, and their hosts, have columns where they are known of any; so have the number and the
    sample standard deviation of repeats.

    A hyperparameter, a metric or a column that shares a name with one before it keeps a prefix:
    ``param.state``, ``metric.seconds``.

    Args:
        trials: Of the run, in the order of the rows.
        metrics: Their names, the main one first.
        front: The trials on the Pareto front, where there are several metrics.
    """
    trials = list(trials)
    columns_of = metric_columns(metrics)
    params = list(dict.fromkeys(name for trial in trials for name in trial.varied))
    others = list(dict.fromkeys(name for trial in trials for name in trial.metrics or ()))
    hosts = any(trial.host for trial in trials)
    used = any(trial.usage is not None for trial in trials)
    repeated = any(trial.repeated is not None for trial in trials)
    rows = []
    for trial in trials:
        row: dict[str, Any] = {
            "trial": trial.trial_id,
            "state": str(trial.state),
            **({} if front is None else {_FRONT: trial in front}),
            **{columns_of[name]: value for name, value in values_of(trial, metrics).items()},
            "steps": trial.steps_run,
            "budget": trial.budget,
            "attempts": trial.attempt,
            "seconds": round(trial.busy_s, 3),
        }
        if repeated:
            values = trial.repeated.values if trial.repeated else []
            row["repeats"] = len(values)
            row["std"] = stdev(values) if len(values) > 1 else None
        if used:
            peak = trial.usage and trial.usage.peak_bytes
            row["cpu_s"] = trial.usage and trial.usage.cpu_s
            row["peak_mb"] = None if peak is None else round(peak / 1e6, 1)
        if hosts:
            row["host"] = trial.host or None
        fixed = {*row, "marks", "error"}
        columns = {name: f"param.{name}" if name in fixed else name for name in params}
        row.update({column: trial.varied.get(name) for name, column in columns.items()})
        taken = {*row, "marks", "error"}
        for name in others:
            if name not in metrics:
                column = f"metric.{name}" if name in taken else name
                row[column] = (trial.metrics or {}).get(name)
        row["marks"] = marks_text(trial)
        row["error"] = trial.error.message if trial.error else None
        rows.append(row)
    return rows
