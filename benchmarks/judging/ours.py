"""A search of ours in virtual time: the scheduler and the policies as they are."""

from __future__ import annotations

import time
from pathlib import Path

from dotrain.core.events import Event, Reported, TimePassed
from dotrain.core.instructions import Ask
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer
from dotrain.core.scheduler import Scheduler
from dotrain.executors.simulated import SimulatedExecutor, SimulationModel
from dotrain.runs.asking import make_asker
from dotrain.space import Params
from judging.problems import Problem, Trace

#: More than any search has time for.
_MANY = 100_000


def search(
    optimizer: AbstractOptimizer,
    early_stop: AbstractEarlyStop,
    problem: Problem,
    seed: int,
    most_trials: int | None = None,
) -> Trace:
    """Run a search until the problem's last mark, or its own end.

    Args:
        optimizer: Not yet set up.
        early_stop: The rule.
        problem: What is searched.
        seed: Of the search.
        most_trials: The most that the optimizer takes, if that is limited.
    """
    num_trials = problem.num_trials or most_trials or _MANY
    optimizer.setup(problem.space, num_trials, "max", seed)
    optimizer.check()
    optimizer.initialize()
    early_stop.initialize()
    scheduler = Scheduler(optimizer, early_stop, direction="max", seed=seed)
    model = SimulationModel(steps=problem.steps, spread=0.0, launch_s=0.0)
    executor = SimulatedExecutor(problem.workers, model)

    def curve(params: Params, step: int, seed: int) -> float:
        return problem.curve_of(params).scores[step]

    executor.curve = curve
    executor.duration = lambda params, step, seed: problem.curve_of(params).durations_s[step]
    asker = make_asker(optimizer, seed, executor, Path())
    improvements: list[tuple[float, float]] = []
    best = float("-inf")
    asks_s = 0.0

    def post(event: Event) -> None:
        nonlocal best, asks_s
        if isinstance(event, Reported) and event.value > best:
            best = event.value
            improvements.append((executor.clock_s(), best))
        for instruction in scheduler.handle(event, executor.clock_s()):
            if not isinstance(instruction, Ask):
                executor.carry_out(instruction)
                continue
            assert asker is not None
            began_s = time.perf_counter()
            asker.ask(instruction)
            asks_s += time.perf_counter() - began_s

    executor.start(None, post)
    while scheduler.status is None and executor.clock_s() <= problem.horizon_s:
        if asker is not None and (answers := asker.answers()):
            for answer in answers:
                post(answer)
            continue
        deadline = scheduler.next_deadline()
        executor.pump(float("inf") if deadline is None else deadline - executor.clock_s())
        if deadline is not None and deadline <= executor.clock_s():
            post(TimePassed())
    return Trace(improvements, len(scheduler.book.trials), asks_s)
