"""A whole search in virtual time, for tests: the validator after every event, everything kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dotrain.core.events import Event, TimePassed
from dotrain.core.instructions import Instruction, Launch
from dotrain.core.limits import Limits
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.scheduler import Scheduler
from dotrain.executors.simulated import Curve, SimulatedExecutor, SimulationModel
from dotrain.space import Searchspace


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
    curve: Curve | None = None,
    *,
    space: Searchspace,
    num_trials: int | None = 20,
    direction: Direction = "max",
    seed: int = 0,
    workers: int = 3,
    limits: Limits | None = None,
    max_events: int = 1_000_000,
    **model: Any,
) -> Simulation:
    """Run a search to its end in virtual time, the validator after every event.

    Args:
        optimizer: Not yet set up.
        early_stop: The rule.
        curve: The metric of a configuration at a step; by default one that is made up.
        space: What is searched.
        num_trials: Configurations to sample.
        direction: ``max`` or ``min``.
        seed: Of the search, and of what is made up.
        workers: Trials at the same time.
        limits: What ends attempts and the run early.
        max_events: An `AssertionError` ends a search that takes more.
        **model: Attributes of `dotrain.executors.simulated.SimulationModel`.

    Returns:
        What happened.
    """
    optimizer.setup(space, num_trials, direction, seed)
    optimizer.check()
    optimizer.initialize()
    early_stop.initialize()
    scheduler = Scheduler(
        optimizer, early_stop, direction=direction, seed=seed, limits=limits or Limits()
    )
    made_up = SimulationModel(**{"seed": seed, "steps": 5, **model})
    executor = SimulatedExecutor(workers, made_up)
    executor.curve = curve or executor.curve
    simulation = Simulation(scheduler)

    def post(event: Event) -> None:
        time_s = executor.clock_s()
        instructions = scheduler.handle(event, time_s)
        scheduler.validate()
        simulation.log.append((time_s, event, instructions))
        for instruction in instructions:
            executor.carry_out(instruction)

    executor.start(None, post)
    for _ in range(max_events):
        if scheduler.status is not None:
            break
        deadline = scheduler.next_deadline()
        executor.pump(float("inf") if deadline is None else deadline - executor.clock_s())
        if deadline is not None and deadline <= executor.clock_s():
            post(TimePassed())
    assert scheduler.status is not None, f"the search isn't over after {max_events} events"
    assert scheduler.status != "interrupted", "nothing is left to happen, and it isn't over"
    optimizer.finalize_experiment(list(scheduler.book.trials.values()))
    return simulation
