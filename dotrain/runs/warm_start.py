"""What a sampler learns before its run begins: results of an earlier run, or of a CSV file."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dotrain.core.sampling import Earlier
from dotrain.errors import UsageError
from dotrain.results.text import count_text
from dotrain.runs.definition import Experiment
from dotrain.runs.finding import find_run
from dotrain.space import Categorical, Domain, Params, Searchspace
from dotrain.store import RunDir, read_journal, replay


def warm_started(experiment: Experiment, runs_dir: Path, *, quiet: bool) -> Experiment:
    """Return an experiment with the earlier results that its config names, read now and kept in its journal.

    Args:
        experiment: A new one.
        runs_dir: Where runs are looked for by name.
        quiet: Don't say what was found.

    Raises:
        UsageError: If there is no such run or file, it has another metric, or nothing of it lies in the space.
    """
    search = experiment.settings.search
    if experiment.study is not None or search is None or search.warm_start is None:
        return experiment
    called, space = search.warm_start.from_, experiment.optimizer.searchspace
    file = experiment.folder / called
    if file.suffix == ".csv":
        found = list(_of_csv(file, experiment.metric, space))
    else:
        path = find_run(file if file.is_dir() else called, runs_dir, quiet=quiet)
        found = list(_of_run(path, experiment))
    inside = [one for one in found if one.params in space]
    if not inside:
        what = f"none of its {len(found)} results lies in" if found else "it has no results for"
        raise UsageError(f"search.warm_start: {called}: {what} search.space")
    inside.sort(key=lambda one: experiment.optimizer.score(one.value), reverse=True)
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
    return [Earlier(**one) for one in header.get("earlier", ())]


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
    state = replay(read_journal(RunDir(path).journal))
    header = state.header
    if header["metric"] != experiment.metric:
        raise UsageError(
            f"search.warm_start: {path} has the metric {header['metric']}, this config {experiment.metric}: their "
            "values can't be compared"
        )
    if header.get("simulated") and not experiment.simulated:
        raise UsageError(f"search.warm_start: {path} is simulated: its values are made up")
    fixed = header["config"].get("hparams") or {}
    names = experiment.optimizer.searchspace.names
    for trial in state.book.trials.values():
        if trial.begins_from:
            continue  # its values aren't those of its configuration
        known = {**fixed, **trial.params}
        params = _in_use({name: known[name] for name in names if name in known}, experiment)
        # Without budgets a trial is one result: that of most steps.
        results = trial.results if experiment.optimizer.gives_budget else trial.results[-1:]
        yield from (Earlier(params, result.value, result.budget) for result in results)


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


def _of_csv(file: Path, metric: str, space: Searchspace) -> Iterator[Earlier]:
    try:
        with open(file, newline="", encoding="utf-8") as lines:
            reader = csv.DictReader(lines)
            columns = reader.fieldnames or []
            missing = [name for name in (metric, *_always(space)) if name not in columns]
            if missing:
                raise UsageError(
                    f"search.warm_start: {file}: no column {', '.join(missing)}; it has {', '.join(columns)}"
                )
            for row in reader:
                if row[metric]:  # what has failed has none
                    yield _row(file, reader.line_num, row, metric, space)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"search.warm_start: {file} can't be read: {error}") from None


def _always(space: Searchspace) -> Iterable[str]:
    return (name for name, domain in space.domains.items() if not domain.when)


def _row(
    file: Path, line: int, row: Mapping[str, str | None], metric: str, space: Searchspace
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
    return Earlier(params, number(metric), budget)


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
