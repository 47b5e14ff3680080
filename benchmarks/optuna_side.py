"""The same trials under optuna: two processes that share a journal file."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.context import SpawnContext
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NamedTuple

PROCESSES = 2
_START_TIMEOUT_S = 120.0


class Span(NamedTuple):
    """When a trial's function began and ended, when its result was recorded, and in which process."""

    began_s: float
    ended_s: float
    told_s: float
    process: int


def run_trials(journal: Path, trials: int, *, reports: int, seconds: float) -> list[Span]:
    """Run trials in two processes, which begin together once both are ready.

    Args:
        journal: The journal file; new.
        trials: How many, of both together.
        reports: How often each reports.
        seconds: How long each sleeps.
    """
    context = multiprocessing.get_context("spawn")
    _study(journal, create=True)
    left = context.Value("i", trials)
    barrier = context.Barrier(PROCESSES)
    spans: list[Span] = []
    pipes = [
        _start(context, (journal, reports, seconds, left, barrier, seed))
        for seed in range(PROCESSES)
    ]
    try:
        for _, receiver in pipes:
            spans += receiver.recv()
    finally:
        for process, _ in pipes:
            process.terminate()
            process.join()
    return spans


def _start(context: SpawnContext, arguments: tuple[Any, ...]) -> tuple[Any, Any]:
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, *arguments), daemon=True)
    process.start()
    # With our copy closed, a process that dies ends the wait for its spans.
    sender.close()
    return process, receiver


def _study(journal: Path, *, create: bool = False, seed: int = 0) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    if create:
        return optuna.create_study(storage=storage, study_name="overhead", direction="maximize")
    sampler = optuna.samplers.RandomSampler(seed=seed)
    return optuna.load_study(storage=storage, study_name="overhead", sampler=sampler)


def _work(
    sender: Any,
    journal: Path,
    reports: int,
    seconds: float,
    left: Synchronized[int],
    barrier: Barrier,
    seed: int,
) -> None:
    study = _study(journal, seed=seed)
    spans = []
    barrier.wait(_START_TIMEOUT_S)
    while _take(left):
        trial = study.ask()
        began_s = time.monotonic()
        x = trial.suggest_float("x", 0.0, 1.0)
        for step in range(reports):
            trial.report(x, step)
        if seconds:
            time.sleep(seconds)
        ended_s = time.monotonic()
        study.tell(trial, x)
        spans.append(Span(began_s, ended_s, time.monotonic(), seed))
    sender.send(spans)


def _take(left: Synchronized[int]) -> bool:
    with left.get_lock():
        left.value -= 1
        return left.value >= 0
