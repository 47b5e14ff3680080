"""A whole search in virtual time, for tests: the validator after every event, everything kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dotrain.core.deadlines import TIME_DIGITS
from dotrain.core.events import Event, Resumed, TimePassed, to_record
from dotrain.core.instructions import Ask, Instruction, Launch
from dotrain.core.limits import Limits
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.scheduler import Scheduler
from dotrain.executors.simulated import Curve, SimulatedExecutor, SimulationModel
from dotrain.runs.asking import make_asker
from dotrain.space import Searchspace
from dotrain.store.arms import write_instruction
from dotrain.store.restore import restore


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
    killed: Simulation | None = None,
    after: int = 0,
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
        killed: The same search, with which to go on as if its driver had been killed; with an optimizer and a
            rule of its own.
        after: How many of its events had happened then.
        **model: Attributes of `dotrain.executors.simulated.SimulationModel`.

    Returns:
        What happened.
    """
    search = _Search(
        optimizer, early_stop, curve, space, num_trials, direction, seed, workers, limits
    )
    if killed is None:
        return search.run(Simulation(search.scheduler), model, max_events)
    log = killed.log[:after]
    restored = restore(search.scheduler, _records(log))
    resumed = Resumed(asdict(search.scheduler.limits))
    going_on = Simulation(search.scheduler, log)
    return search.run(going_on, model, max_events, resumed, restored.time_s)


def _records(log: Iterable[tuple[float, Event, list[Instruction]]]) -> Iterator[dict[str, Any]]:
    """Yield what a journal holds of what happened."""
    number = 0
    for time_s, event, instructions in log:
        for record in (to_record(event), *map(write_instruction, instructions)):
            number += 1
            yield json.loads(json.dumps({"n": number, "t": round(time_s, TIME_DIGITS), **record}))


class _Search:
    """A search in virtual time, until it is driven."""

    def __init__(
        self,
        optimizer: AbstractOptimizer,
        early_stop: AbstractEarlyStop,
        curve: Curve | None,
        space: Searchspace,
        num_trials: int | None,
        direction: Direction,
        seed: int,
        workers: int,
        limits: Limits | None,
    ) -> None:
        optimizer.setup(space, num_trials, direction, seed)
        optimizer.check()
        early_stop.check_with(optimizer)
        optimizer.initialize()
        early_stop.initialize()
        self.scheduler = Scheduler(
            optimizer, early_stop, direction=direction, seed=seed, limits=limits or Limits()
        )
        self._optimizer, self._curve, self._seed = optimizer, curve, seed
        self._workers = workers

    def run(
        self,
        simulation: Simulation,
        model: Mapping[str, Any],
        max_events: int,
        resumed: Resumed | None = None,
        from_s: float = 0.0,
    ) -> Simulation:
        """Drive it to its end, the validator after every event."""
        scheduler, optimizer = self.scheduler, self._optimizer
        made_up = SimulationModel(**{"seed": self._seed, "steps": 5, **model})
        executor = SimulatedExecutor(self._workers, made_up)
        executor.curve = self._curve or executor.curve
        asker = make_asker(optimizer, self._seed, executor, Path())

        def post(event: Event) -> None:
            time_s = executor.clock_s()
            instructions = scheduler.handle(event, time_s)
            scheduler.validate()
            simulation.log.append((time_s, event, instructions))
            for instruction in instructions:
                if isinstance(instruction, Ask):
                    assert asker is not None, "a question, and no sampler"
                    asker.ask(instruction)
                else:
                    executor.carry_out(instruction)

        trials = scheduler.book.trials.values()
        steps = {t.trial_id: t.last_step + 1 for t in trials if t.last_step is not None}
        executor.resume_from(from_s, steps)
        if resumed is not None:
            post(resumed)
        executor.start(None, post)
        for _ in range(max_events):
            if scheduler.status is not None:
                break
            if asker is not None and (answers := asker.answers()):
                for answer in answers:
                    post(answer)
                continue
            deadline = scheduler.next_deadline()
            executor.pump(float("inf") if deadline is None else deadline - executor.clock_s())
            if deadline is not None and deadline <= executor.clock_s():
                post(TimePassed())
        assert scheduler.status is not None, f"the search isn't over after {max_events} events"
        assert scheduler.status != "interrupted", "nothing is left to happen, and it isn't over"
        optimizer.finalize_experiment(list(scheduler.book.trials.values()))
        return simulation
