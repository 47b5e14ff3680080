"""A whole search in virtual time, for tests: the validator after every event, everything kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dotrain.core.criteria import Criteria
from dotrain.core.deadlines import TIME_DIGITS
from dotrain.core.events import Event, Finished, Reported, Resumed, TimePassed, to_record
from dotrain.core.front import Metrics
from dotrain.core.instructions import Ask, Instruction, Launch
from dotrain.core.limits import Limits
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.repeats import Repeats
from dotrain.core.reports import steps_of
from dotrain.core.scheduler import Scheduler
from dotrain.executors.simulated import Curve, SimulatedExecutor, SimulationModel
from dotrain.runs.asking import make_asker
from dotrain.space import Params, Searchspace
from dotrain.store.arms import write_instruction
from dotrain.store.restore import restore

#: The other metrics of a configuration at a step, with a seed.
Beside = Callable[[Params, int, int], Mapping[str, float]]


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
    repeats: int = 1,
    max_events: int = 1_000_000,
    killed: Simulation | None = None,
    after: int = 0,
    metrics: Mapping[str, Direction] | None = None,
    beside: Beside | None = None,
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
        repeats: How often each configuration is trained.
        max_events: An `AssertionError` ends a search that takes more.
        killed: The same search, with which to go on as if its driver had been killed; with an optimizer and a
            rule of its own.
        after: How many of its events had happened then.
        metrics: Of several metrics the direction of each, that of the curve first.
        beside: The other metrics of a configuration at a step, by their names.
        **model: Attributes of `dotrain.executors.simulated.SimulationModel`.

    Returns:
        What happened.
    """
    search = _Search(
        *(optimizer, early_stop, curve, space, num_trials, direction, seed, workers, limits),
        *(repeats, metrics, beside),
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
        repeats: int,
        metrics: Mapping[str, Direction] | None,
        beside: Beside | None,
    ) -> None:
        optimizer.setup(space, num_trials, direction, seed, metrics)
        optimizer.check()
        early_stop.check_with(optimizer)
        optimizer.initialize()
        early_stop.initialize()
        self.scheduler = Scheduler(
            *(optimizer, early_stop),
            direction=direction,
            seed=seed,
            limits=limits or Limits(),
            criteria=Criteria(metrics=Metrics(metrics or {})),
            repeats=Repeats(repeats, direction, seed, are_all_made=bool(metrics)),
        )
        self._beside = beside
        self._optimizer, self._curve, self._seed = optimizer, curve, seed
        self._workers = workers

    def _with_others(self, event: Event) -> Event:
        """Return an event with the other metrics of what it tells of."""
        if self._beside is None or not isinstance(event, Reported | Finished):
            return event
        trial = self.scheduler.book.trials[event.trial_id]
        step = event.step if isinstance(event, Reported) else trial.last_step or 0
        return replace(event, metrics=self._beside(trial.params, step, trial.seed or 0))

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
            time_s = round(executor.clock_s(), TIME_DIGITS)  # as a journal holds it
            event = self._with_others(event)
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
        steps = {folder: n for trial in trials for folder, n in steps_of(trial).items()}
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
