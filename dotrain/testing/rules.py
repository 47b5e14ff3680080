"""What every early-stop rule promises, as a function that checks it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from dotrain.core.events import (
    Event,
    Finished,
    Lost,
    Reported,
    SlotsChanged,
    Started,
    Stopped,
)
from dotrain.core.instructions import Launch, Stop
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.scheduler import Scheduler
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.random import RandomSearch
from dotrain.testing.contracts import example_curve, example_space
from dotrain.testing.simulation import Simulation, simulate

EarlyStopFactory = Callable[[], AbstractEarlyStop]


def check_early_stop(
    make: EarlyStopFactory,
    *,
    mirrored: EarlyStopFactory | None = None,
    steps: int = 8,
    num_trials: int = 30,
) -> None:
    """Check the contract of an early-stop rule.

    `min` of f and `max` of -f stop the same trials at the same steps; the same reports lead to the
    same stops, whatever the rule was used for before; every stop has a reason; not everything is stopped;
    failures, divergence and replaced reports don't stop it, nor do promotions, unless it refuses an
    optimizer that gives budgets. A trial that loses its worker and does steps once more, from the start or
    from a checkpoint, is stopped where it would have been without that.

    Args:
        make: Returns a new instance.
        mirrored: The same for -f, where options are values of the metric; by default `make`.
        steps: Reports of a trial that runs to its end.
        num_trials: Trials of the search.

    Raises:
        AssertionError: If a promise is broken.
    """
    used, opposite = make(), mirrored or make

    def run(
        direction: Direction = "max",
        seed: int = 0,
        rule: AbstractEarlyStop | None = None,
        optimizer: AbstractOptimizer | None = None,
        **faults: Any,
    ) -> Simulation:
        sign = 1.0 if direction == "max" else -1.0
        return simulate(
            optimizer or RandomSearch(),
            rule or (make() if direction == "max" else opposite()),
            lambda params, step, trial_seed: sign * example_curve(params, step, trial_seed),
            space=example_space(),
            num_trials=num_trials,
            direction=direction,
            seed=seed,
            steps=steps,
            **faults,
        )

    for seed in (0, 1):
        first = run(seed=seed)
        assert run(seed=seed).decisions == first.decisions, f"seed {seed}: two runs differ"
        assert run(seed=seed, rule=used).decisions == first.decisions, "a used rule differs"
        minimized = run("min", seed=seed)
        assert minimized.decisions == first.decisions, f"seed {seed}: min f and max -f differ"
        counts = first.scheduler.book.counts
        assert any(count for state, count in counts.items() if state == "finished"), "stops all"
        reasons = [i.reason for _, _, out in first.log for i in out if isinstance(i, Stop)]
        assert all(" at step " in reason for reason in reasons)
        whole = _stops(make(), seed, steps, num_trials)
        for kept in (None, 0, 2):
            lost = _stops(make(), seed, steps, num_trials, loses=True, behind=kept)
            assert lost == whole, (
                f"seed {seed}: steps that are done once more change who is stopped"
            )
    faults: dict[str, Any] = {
        "failing": 0.2,
        "losing": 0.2,
        "diverging": 0.2,
        "repeating": 0.3,
        "late": 0.3,
    }
    faulty = run(**faults)
    assert run(rule=used, **faults).decisions == faulty.decisions, "two runs with faults differ"
    if _takes_budgets(make(), num_trials):
        first, minimized = (
            run(direction, optimizer=ASHA(resource_max=steps)) for direction in ("max", "min")
        )
        assert minimized.decisions == first.decisions, "min f and max -f differ beside ASHA"


def _takes_budgets(rule: AbstractEarlyStop, num_trials: int) -> bool:
    optimizer = ASHA(resource_max=1)
    optimizer.setup(example_space(), num_trials, "max", 0)
    try:
        rule.check_with(optimizer)
    except ValueError:
        return False
    return True


def _stops(
    rule: AbstractEarlyStop,
    seed: int,
    steps: int,
    num_trials: int,
    *,
    loses: bool = False,
    behind: int | None = None,
) -> list[tuple[str, int]]:
    """Return who is stopped at which step, one trial after the other.

    Args:
        rule: The rule.
        seed: Of the search.
        steps: Reports of a trial that runs to its end.
        num_trials: Trials of the search.
        loses: Let every second trial lose its worker, at most once, after some of its steps.
        behind: How many of these its checkpoint has not; None if it has no checkpoint.
    """
    optimizer = RandomSearch()
    optimizer.setup(example_space(), num_trials, "max", seed)
    optimizer.initialize()
    rule.initialize()
    scheduler = Scheduler(optimizer, rule, seed=seed)
    stops: list[tuple[str, int]] = []
    lost: set[str] = set()
    queue = deque(scheduler.handle(SlotsChanged(1), 0.0))
    while launch := next((one for one in queue if isinstance(one, Launch)), None):
        queue.clear()
        name = (launch.trial_id, launch.attempt)
        number = scheduler.book.trials[launch.trial_id].number
        is_to_lose = loses and number % 2 and launch.trial_id not in lost
        first = 0 if behind is None else max(0, launch.known_step + 1 - behind)
        scheduler.handle(Started(*name, resume_step=first), 0.0)
        end: Event = Finished(*name, 0.0)
        for step in range(first, steps):
            if is_to_lose and step == (number + seed) % steps:
                lost.add(launch.trial_id)
                end = Lost(*name, "its worker died")
                break
            value = example_curve(launch.params, step, launch.seed)
            out = scheduler.handle(Reported(*name, step, value), 0.0)
            if any(isinstance(one, Stop) for one in out):
                stops.append((launch.trial_id, step))
                end = Stopped(*name)
                break
        queue.extend(scheduler.handle(end, 0.0))
        scheduler.validate()
    return stops
