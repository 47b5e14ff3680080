"""A whole search in virtual time: the real scheduler and policies, with made-up learning curves."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from dotrain.core.book import Limits
from dotrain.core.events import (
    Event,
    Failed,
    Finished,
    Lost,
    Reported,
    SlotsChanged,
    Started,
    Stopped,
)
from dotrain.core.instructions import Instruction, Kill, Launch, Stop
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Failure
from dotrain.space import Params, Searchspace

#: (params, step from 0, the trial's seed) -> the metric's value.
Curve = Callable[[Params, int, int], float]


@dataclass
class Simulation:
    """What happened in a simulated search.

    Attributes:
        scheduler: The scheduler, at the end.
        log: Each event with its time and the instructions that it led to.
    """

    scheduler: Scheduler
    log: list[tuple[float, Event, list[Instruction]]] = field(default_factory=list)

    @property
    def launches(self) -> list[Launch]:
        """Every launch, in order."""
        return [i for _, _, out in self.log for i in out if isinstance(i, Launch)]

    @property
    def decisions(self) -> list[tuple[Any, ...]]:
        """Every instruction without its reason, in order: what two equal searches share."""
        return [
            (type(i).__name__, *(getattr(i, name) for name in i.__slots__ if name != "reason"))
            for _, _, out in self.log
            for i in out
        ]


def simulate(
    optimizer: AbstractOptimizer,
    early_stop: AbstractEarlyStop,
    curve: Curve,
    *,
    space: Searchspace,
    num_trials: int | None = 20,
    direction: Direction = "max",
    seed: int = 0,
    workers: int = 3,
    steps: int = 5,
    checkpoints: bool = True,
    failing: float = 0.0,
    losing: float = 0.0,
    limits: Limits | None = None,
    max_events: int = 1_000_000,
) -> Simulation:
    """Run a search to its end in virtual time, the validator after every event.

    Args:
        optimizer: Not yet set up.
        early_stop: The rule.
        curve: The metric of a configuration at a step.
        space: What is searched.
        num_trials: Configurations to sample.
        direction: ``max`` or ``min``.
        seed: Of the search, of the durations, and of the faults.
        workers: Trials at the same time.
        steps: Steps of a trial without a budget.
        checkpoints: Whether a promoted or retried trial goes on where it was.
        failing: Probability that an attempt fails, in [0, 1).
        losing: Probability that an attempt is lost with its worker, in [0, 1).
        limits: What ends attempts and the run early.
        max_events: An `AssertionError` ends a search that takes more.

    Returns:
        What happened.
    """
    optimizer.setup(space, num_trials, direction, seed)
    optimizer.check()
    optimizer.initialize()
    scheduler = Scheduler(
        optimizer, early_stop, direction=direction, seed=seed, limits=limits or Limits()
    )
    run = _Run(Simulation(scheduler), curve, Random(seed), steps, checkpoints, failing, losing)
    run.post(SlotsChanged(workers), 0.0)
    for _ in range(max_events):
        if scheduler.status is not None:
            break
        assert run.heap, "nothing is left to happen, and the search isn't over"
        run.next_event()
    assert scheduler.status is not None, f"the search isn't over after {max_events} events"
    trials = list(scheduler.book.trials.values())
    optimizer.finalize_experiment(trials)
    return run.simulation


class _Run:
    """The virtual workers: a heap of what each running attempt does next."""

    def __init__(
        self,
        simulation: Simulation,
        curve: Curve,
        rng: Random,
        steps: int,
        checkpoints: bool,
        failing: float,
        losing: float,
    ) -> None:
        self.simulation = simulation
        self.curve = curve
        self.rng = rng
        self.steps = steps
        self.checkpoints = checkpoints
        self.failing = failing
        self.losing = losing
        #: (time, counter, attempt); the counter makes ties first in, first out.
        self.heap: list[tuple[float, int, _Attempt]] = []
        self.counter = 0
        self.attempts: dict[tuple[str, int], _Attempt] = {}
        self.done_steps: dict[str, int] = {}

    def post(self, event: Event, time_s: float) -> None:
        scheduler = self.simulation.scheduler
        instructions = scheduler.handle(event, time_s)
        scheduler.validate()
        self.simulation.log.append((time_s, event, instructions))
        for instruction in instructions:
            match instruction:
                case Launch():
                    self._launch(instruction, time_s)
                case Stop():
                    self.attempts[instruction.trial_id, instruction.attempt].stopping = True
                case Kill():
                    self.attempts[instruction.trial_id, instruction.attempt].dead = True

    def next_event(self) -> None:
        time_s, _, attempt = heapq.heappop(self.heap)
        if attempt.dead:
            return
        event = attempt.next_event()
        if isinstance(event, Reported) and self.checkpoints:
            self.done_steps[event.trial_id] = event.step + 1
        if not isinstance(event, Started | Reported):
            attempt.dead = True
        else:
            self._push(attempt, time_s + self.rng.random())
        self.post(event, time_s)

    def _launch(self, launch: Launch, time_s: float) -> None:
        attempt = _Attempt(launch, self._events(launch))
        self.attempts[launch.trial_id, launch.attempt] = attempt
        self._push(attempt, time_s + self.rng.random())

    def _push(self, attempt: _Attempt, time_s: float) -> None:
        self.counter += 1
        heapq.heappush(self.heap, (time_s, self.counter, attempt))

    def _events(self, launch: Launch) -> Iterator[Event]:
        name = (launch.trial_id, launch.attempt)
        first = self.done_steps.get(launch.trial_id, 0)
        last = self.steps if launch.budget is None else int(launch.budget)
        fate = self.rng.random()
        ends_at = self.rng.randint(first, last)
        yield Started(*name, "simulated", first)
        value = 0.0
        for step in range(first, last):
            if step == ends_at and fate < self.failing:
                yield Failed(*name, Failure("exception", "ValueError: made up"))
            if step == ends_at and self.failing <= fate < self.failing + self.losing:
                yield Lost(*name, "its worker was made to die")
            value = self.curve(launch.params, step, launch.seed)
            yield Reported(*name, step, value)
        yield Finished(*name, value)


@dataclass(eq=False)
class _Attempt:
    launch: Launch
    events: Iterator[Event]
    stopping: bool = False
    dead: bool = False

    def next_event(self) -> Event:
        if self.stopping:
            return Stopped(self.launch.trial_id, self.launch.attempt)
        return next(self.events)
