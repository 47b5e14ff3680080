"""All searches of a judgement, in processes of their own; what is done is kept, and not done again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

from dotrain.core.seeding import derive_seed
from judging import lcbench, tables
from judging.problems import Problem, Scale
from judging.searchers import BY_NAME

#: The best score is kept on a grid of so many marks up to the last, for curves.
POINTS = 40


@dataclass(frozen=True)
class Task:
    """A problem, by what a process makes it of.

    Attributes:
        group: As of `Problem`.
        name: As of `Problem`.
        data: The folder of LCBench, None for a table.
        scale: As of `lcbench.Surrogate.scale_of`.
        unit_s: The same.
    """

    group: str
    name: str
    data: str | None = None
    scale: Scale | None = None
    unit_s: float = 1.0

    def problem(self) -> Problem:
        """Return the problem; this process keeps the last few."""
        return _problem(self)


@lru_cache(maxsize=2)
def _problem(task: Task) -> Problem:
    if task.data is None or task.scale is None:
        return tables.table(task.name)
    return lcbench.lcbench(Path(task.data), task.name, task.scale, task.unit_s)


@dataclass(frozen=True)
class Outcome:
    """What a search has come to.

    Attributes:
        group: Of the problem.
        problem: Its name.
        searcher: Its name.
        seed: The how-manieth repeat it is, from 0; the search's own seed is derived from it and the problem.
        marks: The best score at the problem's marks, None before there is one.
        curve: The same at `POINTS` equal parts of the time.
        scale: Of the problem.
        trials: As of `Trace`.
        asks_s: As of `Trace`.
    """

    group: str
    problem: str
    searcher: str
    seed: int
    marks: list[float | None]
    curve: list[float | None]
    scale: Scale
    trials: int
    asks_s: float

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Which search it was."""
        return self.group, self.problem, self.searcher, self.seed


def lcbench_tasks(data: Path, *, tuning: bool, most: int | None, processes: int) -> list[Task]:
    """Return the tasks of LCBench, having looked for each data set's best score.

    Args:
        data: As of `lcbench.Surrogate`.
        tuning: As of `lcbench.data_sets`.
        most: How many data sets at most.
        processes: At a time.
    """
    names = list(lcbench.data_sets(data, tuning=tuning))[:most]
    with _pool(processes) as pool:
        scales = pool.map(_scale, [str(data)] * len(names), names)
        group = lcbench.TUNING if tuning else lcbench.GROUP
        return [Task(group, n, str(data), *scale) for n, scale in zip(names, scales, strict=True)]


def _scale(data: str, name: str) -> tuple[Scale, float]:
    return lcbench.surrogate(Path(data)).scale_of(name)


def run_all(
    tasks: Sequence[Task],
    searchers: Iterable[str],
    repeats: int,
    *,
    processes: int,
    keep: Path | None = None,
) -> list[Outcome]:
    """Run every searcher on every problem that is one for it, `repeats` times.

    Args:
        tasks: The problems.
        searchers: Their names.
        repeats: With seeds from 0.
        processes: At a time.
        keep: A file of outcomes; those in it aren't made again, new ones are added. It must have come
            of the same code.
    """
    known = {} if keep is None or not keep.exists() else _read(keep)
    groups = {(task.group, task.name) for task in tasks}
    wanted = list(searchers)
    found = [
        one
        for one in known.values()
        if (one.group, one.problem) in groups and one.searcher in wanted and one.seed < repeats
    ]
    with _pool(processes) as pool:
        futures = []
        for task in tasks:
            for name in wanted:
                of = (task.group, task.name, name)
                seeds = [seed for seed in range(repeats) if (*of, seed) not in known]
                if seeds:
                    futures.append(pool.submit(_run, task, name, seeds))
        for number, future in enumerate(as_completed(futures), 1):
            outcomes = future.result()
            found += outcomes
            if keep is not None and outcomes:
                with open(keep, "a") as file:
                    file.writelines(json.dumps(asdict(one)) + "\n" for one in outcomes)
            if sys.stderr.isatty() or number % 20 == 0:
                print(f"{number} of {len(futures)} done", end="\r", file=sys.stderr, flush=True)
    return sorted(found, key=lambda one: one.key)


def _run(task: Task, name: str, seeds: Sequence[int]) -> list[Outcome]:
    problem, searcher = task.problem(), BY_NAME[name]
    outcomes = []
    for seed in seeds if searcher.takes(problem) else ():
        # Other problems with other seeds, or all would have the same random configurations.
        trace = searcher.run(problem, derive_seed(seed, problem.group, problem.name))
        last = problem.marks[-1]
        outcomes.append(
            Outcome(
                *(problem.group, problem.name, name, seed),
                marks=[trace.score_at(problem, mark) for mark in problem.marks],
                curve=[trace.score_at(problem, last * (i + 1) / POINTS) for i in range(POINTS)],
                scale=problem.scale,
                trials=trace.trials,
                asks_s=round(trace.asks_s, 4),
            )
        )
    return outcomes


def _read(file: Path) -> dict[tuple[str, str, str, int], Outcome]:
    records = map(json.loads, file.read_text().splitlines())
    outcomes = (Outcome(**{**one, "scale": Scale(**one["scale"])}) for one in records)
    return {one.key: one for one in outcomes}


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
