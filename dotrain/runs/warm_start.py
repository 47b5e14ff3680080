"""What a sampler learns before its run begins: results of an earlier run, or of a CSV file."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dotrain.core.front import dominates, told_with_value
from dotrain.core.marks import Mark
from dotrain.core.policy import AbstractOptimizer
from dotrain.core.sampling import Earlier
from dotrain.core.trial import TrialState
from dotrain.errors import UsageError
from dotrain.results.text import count_text
from dotrain.runs.definition import Experiment
from dotrain.runs.finding import find_run
from dotrain.runs.spaces import had_before
from dotrain.space import Categorical, Domain, Params, Searchspace
from dotrain.store import RunDir, read_journal, replay


def warm_started(experiment: Experiment, runs_dir: Path, *, quiet: bool) -> Experiment:
    """Return an experiment with the earlier results that its config names, read now and kept in its journal.

    Args:
        experiment: A new one.
        runs_dir: Where runs are looked for by name.
        quiet: Don't say what was found.

    Raises:
        UsageError: If there is no such run or file, it has another metric or lacks one of several, or nothing of it lies
            in the space.
    """
    search = experiment.settings.search
    if experiment.study is not None or search is None or search.warm_start is None:
        return experiment
    called, space = search.warm_start.from_, experiment.optimizer.searchspace
    file = experiment.folder / called
    if file.suffix == ".csv":
        found = list(_of_csv(file, experiment.metric, list(experiment.metrics)[1:], space))
    else:
        path = find_run(file if file.is_dir() else called, runs_dir, quiet=quiet)
        found = list(_of_run(path, experiment))
    inside = [one for one in found if one.params in space]
    if not inside:
        of = f" with {', '.join(experiment.metrics)}" if experiment.metrics else ""
        what = (
            f"none of its {len(found)} results lies in" if found else f"it has no results{of} for"
        )
        raise UsageError(f"search.warm_start: {called}: {what} search.space")
    inside = _best_first(inside, experiment.optimizer)
    taken = list(_spread(inside, search.warm_start.trials or len(inside)))
    if not quiet:
        of = (
            "" if len(inside) == len(found) else f", of {len(found)}, {len(inside)} in search.space"
        )
        sys.stderr.write(
            f"note: the model begins with {count_text(len(taken), 'result')} of {called}{of}\n"
        )
    return replace(experiment, earlier=taken)


def earlier_of(header: Mapping[str, Any]) -> list[Earlier]:
    """Return the earlier results that a run began with.

    Args:
        header: The journal's.
    """
    return [
        Earlier(**{**one, "values": tuple(one.get("values", ()))})
        for one in header.get("earlier", ())
    ]


def _best_first(found: list[Earlier], optimizer: AbstractOptimizer) -> list[Earlier]:
    """Return results with the best first; of several metrics, those that the fewest others dominate.

    Source of that rank: Fonseca and Fleming, "Genetic Algorithms for Multiobjective Optimization", ICGA 1993.
    """
    if not optimizer.metrics:
        return sorted(found, key=lambda one: optimizer.score(one.value), reverse=True)
    scores = [optimizer.scores(one.values) for one in found]
    ranks = [sum(dominates(other, one) for other in scores) for one in scores]
    return [found[index] for index in sorted(range(len(found)), key=ranks.__getitem__)]


def _spread(best_first: list[Earlier], most: int) -> Iterator[Earlier]:
    """Yield as many results as are wanted, from the best to the worst: a model needs bad ones too."""
    count = len(best_first)
    if most >= count:
        yield from best_first
        return
    last = max(1, most - 1)
    yield from (best_first[index * (count - 1) // last] for index in range(most))


def _of_run(path: Path, experiment: Experiment) -> Iterator[Earlier]:
    """Yield the results of a run, its fixed hyperparameters among the configuration's if they are searched now."""
    records = list(read_journal(RunDir(path).journal))
    state = replay(records)
    header = state.header
    if header["metric"] != experiment.metric and not experiment.metrics:
        raise UsageError(
            f"search.warm_start: {path} has the metric {header['metric']}, this config {experiment.metric}: their "
            "values can't be compared"
        )
    if header.get("simulated") and not experiment.simulated:
        raise UsageError(f"search.warm_start: {path} is simulated: its values are made up")
    fixed = {**(header["config"].get("hparams") or {}), **had_before(records)}
    names = experiment.optimizer.searchspace.names
    for trial in state.book.trials.values():
        if trial.begins_from:
            continue  # its values aren't those of its configuration
        known = {**fixed, **trial.params}
        params = _in_use({name: known[name] for name in names if name in known}, experiment)
        # Without budgets a trial is one result: that of most steps.
        results = trial.results if experiment.optimizer.gives_budget else trial.results[-1:]
        if not experiment.metrics:
            yield from (Earlier(params, result.value, result.budget) for result in results)
            continue
        if trial.state is not TrialState.FINISHED:
            continue
        known = {**told_with_value(trial), header["metric"]: trial.final_metric}
        values = [value for name in experiment.metrics if (value := known.get(name)) is not None]
        if len(values) == len(experiment.metrics):
            yield Earlier(params, values[0], trial.budget, tuple(values))


def _in_use(params: Params, experiment: Experiment) -> Params:
    """Return those of some values that the space has in use."""
    space = experiment.optimizer.searchspace
    missing: list[str] = []

    def value_of(name: str) -> Any:
        if name not in params:
            missing.append(name)
        return params.get(name)

    found = space.build(value_of)
    return params if missing else found


def _of_csv(
    file: Path, metric: str, further: Sequence[str], space: Searchspace
) -> Iterator[Earlier]:
    try:
        with open(file, newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            columns = reader.fieldnames or []
            missing = [name for name in (metric, *further, *_always(space)) if name not in columns]
            if missing:
                raise UsageError(
                    f"search.warm_start: {file}: no column {', '.join(missing)}; it has {', '.join(columns)}"
                )
            for row in reader:
                if "marks" not in space.names and Mark.INHERITED in (row.get("marks") or ""):
                    continue  # a trial of `show --csv` whose value isn't that of its configuration
                if all(row[name] for name in (metric, *further)):  # what has failed has none
                    yield _row(file, reader.line_num, row, metric, further, space)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"search.warm_start: {file} can't be read: {error}") from None


def _always(space: Searchspace) -> Iterable[str]:
    return (name for name, domain in space.domains.items() if not domain.when)


def _row(
    file: Path,
    line: int,
    row: Mapping[str, str | None],
    metric: str,
    further: Sequence[str],
    space: Searchspace,
) -> Earlier:
    def number(name: str) -> float:
        try:
            value = float(row[name] or "")
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return value
        message = f"expected a finite number, got {row[name]!r}"
        raise UsageError(f"search.warm_start: {file}:{line}: {name}: {message}")

    params = {n: _read(space.domains[n], row[n] or "") for n in space.names if row.get(n)}
    budget = number("budget") if row.get("budget") else None
    values = tuple(map(number, (metric, *further))) if further else ()
    return Earlier(params, number(metric), budget, values)


def _read(domain: Domain, text: str) -> Any:
    """Return the value of a domain that a cell means; the text itself if it means none."""
    if isinstance(domain, Categorical):
        return next((value for value in domain.values if str(value) == text), text)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
