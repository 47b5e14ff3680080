"""What ends a search before all is tried: a value that will do, or none better for long."""

from __future__ import annotations

from dataclasses import asdict, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core.constraints import Constraints
from dotrain.core.criteria import Criteria
from dotrain.core.events import (
    AttemptEnd,
    Diverged,
    Failed,
    Finished,
    Reported,
    Resumed,
    SlotsChanged,
    Started,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.front import Metrics
from dotrain.core.instructions import Finish, Kill, Launch
from dotrain.core.limits import Limits
from dotrain.core.policy import Direction
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import TrialState
from dotrain.earlystop.none import NoStop
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.random import RandomSearch
from dotrain.results import ranked
from dotrain.space import Float, Searchspace
from dotrain.testing import Simulation, simulate

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))


class Search:
    """One trial after the other, on as many slots as are wanted."""

    def __init__(
        self, slots: int = 1, direction: Direction = "max", **limits: float | None
    ) -> None:
        optimizer = RandomSearch()
        optimizer.setup(SPACE, 20, direction, 0)
        optimizer.initialize()
        self.limits = Limits(**limits)  # type: ignore[arg-type]
        self.scheduler = Scheduler(optimizer, NoStop(), direction=direction, limits=self.limits)
        self.out = self.scheduler.handle(SlotsChanged(slots), 0.0)

    def end(self, trial_id: str, value: float | None, *, fails: bool = False) -> Finish | None:
        """End a trial that runs: with a value, diverged, or failed."""
        name = (trial_id, self.scheduler.book.trials[trial_id].attempt)
        self.scheduler.handle(Started(*name), 0.0)
        end: AttemptEnd = Diverged(*name, "nan")
        if fails:
            end = Failed(*name, Failure(FailureKind.EXCEPTION, "so it is"))
        elif value is not None:
            end = Finished(*name, value)
        self.out = self.scheduler.handle(end, 0.0)
        self.scheduler.validate()
        return next((one for one in self.out if isinstance(one, Finish)), None)

    def resume(self, **changed: float | None) -> None:
        self.limits = replace(self.limits, **changed)  # type: ignore[arg-type]
        self.out = self.scheduler.handle(Resumed(asdict(self.limits)), 0.0)
        self.scheduler.validate()


@pytest.mark.parametrize(("direction", "sign"), [("max", 1.0), ("min", -1.0)])
def test_the_target_ends_a_search_at_once_and_is_enough_itself(
    direction: Direction, sign: float
) -> None:
    search = Search(2, direction, target=0.5 * sign)
    assert search.end("t0000", 0.4 * sign) is None
    assert search.end("t0001", None) is None
    finish = search.end("t0002", 0.5 * sign)
    assert finish == Finish(
        f"t0002 has {0.5 * sign:g}: search.stop.target {0.5 * sign:g} is reached", "finished", True
    )
    kills = [one.trial_id for one in search.out if isinstance(one, Kill)]
    assert kills == ["t0003"], "what still runs is ended"
    assert search.scheduler.book.trials["t0003"].state is TrialState.WAITING
    assert search.scheduler.ended_early == finish.reason


def test_so_many_ends_without_a_better_value_end_a_search_failures_aside() -> None:
    search = Search(no_better_for=3)
    assert search.end("t0000", 0.4) is None
    assert search.end("t0001", 0.4) is None, "as good is not better"
    assert search.end("t0002", None, fails=True) is None
    assert search.end("t0003", None) is None, "diverged"
    assert search.end("t0004", 0.6) is None, "better"
    assert search.end("t0005", 0.1) is None
    assert search.end("t0006", None, fails=True) is None
    assert search.end("t0007", 0.2) is None
    finish = search.end("t0008", 0.5)
    assert finish is not None
    reason = "no better value than 0.6 of t0004 in 3 trials (search.stop.no_better_for)"
    assert finish == Finish(reason, "finished", True)


def test_trials_that_all_diverge_are_no_better_for_long_either() -> None:
    search = Search(no_better_for=2, max_failures=5)
    assert search.end("t0000", None) is None
    finish = search.end("t0001", None)
    assert finish is not None
    assert finish.reason.startswith("no better value in 2 trials")


def test_as_it_ends_the_running_ones_wait_and_another_criterion_launches_them_first() -> None:
    search = Search(3, target=0.5)
    name = ("t0001", 1)
    search.scheduler.handle(Started(*name), 0.0)
    search.scheduler.handle(Reported(*name, 0, 0.9), 0.0)
    assert search.end("t0000", 0.7)
    search.resume()
    assert [type(one) for one in search.out] == [Finish], "it stays over"
    search.resume(target=0.6)
    assert [type(one) for one in search.out] == [Finish], "that is reached as well"
    search.resume(target=0.8)
    assert search.out == []
    out = search.scheduler.handle(SlotsChanged(3), 0.0)
    launches = [(i.trial_id, i.attempt) for i in out if isinstance(i, Launch)]
    assert launches == [("t0001", 2), ("t0002", 2), ("t0003", 1)]


def test_it_goes_on_when_nothing_is_enough_any_more() -> None:
    search = Search(no_better_for=1)
    search.end("t0000", 0.5)
    assert search.end("t0001", 0.4)
    search.resume(no_better_for=None)
    out = search.scheduler.handle(SlotsChanged(1), 0.0)
    assert [one.trial_id for one in out if isinstance(one, Launch)] == ["t0002"]


def test_what_is_infeasible_reaches_no_target_and_is_no_better() -> None:
    optimizer = RandomSearch()
    optimizer.setup(SPACE, 20, "max", 0)
    optimizer.initialize()
    scheduler = Scheduler(
        optimizer,
        NoStop(),
        limits=Limits(target=0.5, no_better_for=3),
        criteria=Criteria(Constraints({"memory_mb": (None, 512.0)})),
    )
    scheduler.handle(SlotsChanged(1), 0.0)
    for number, (value, memory_mb) in enumerate([(0.4, 100.0), (0.6, 900.0), (0.7, 900.0)]):
        name = (f"t{number:04d}", 1)
        scheduler.handle(Started(*name), 0.0)
        scheduler.handle(Finished(*name, value, {"memory_mb": memory_mb}), 0.0)
        assert scheduler.status is None
    name = ("t0003", 1)
    scheduler.handle(Started(*name), 0.0)
    scheduler.handle(Finished(*name, 0.9, {"memory_mb": 900.0}), 0.0)
    assert scheduler.ended_early.startswith("no better value than 0.4 of t0000 in 3 trials")


def test_of_several_metrics_a_trial_is_better_if_none_is_as_good_by_all() -> None:
    optimizer = RandomSearch()
    metrics: dict[str, Direction] = {"accuracy": "max", "latency_ms": "min"}
    optimizer.setup(SPACE, 20, "max", 0, metrics)
    optimizer.initialize()
    scheduler = Scheduler(
        optimizer,
        NoStop(),
        limits=Limits(no_better_for=2),
        criteria=Criteria(metrics=Metrics(metrics)),
    )
    scheduler.handle(SlotsChanged(1), 0.0)
    # Better by one, worse by the other; dominated; better by the other; the same again; dominated.
    ends = [(0.5, 5.0), (0.9, 9.0), (0.8, 9.0), (0.4, 4.0), (0.9, 9.0), (0.3, 4.0)]
    for number, (value, latency_ms) in enumerate(ends):
        assert scheduler.status is None
        name = (f"t{number:04d}", 1)
        scheduler.handle(Started(*name), 0.0)
        scheduler.handle(Finished(*name, value, {"latency_ms": latency_ms}), 0.0)
        scheduler.validate()
    assert scheduler.ended_early == (
        "2 trials have added nothing to the Pareto front of 3 (search.stop.no_better_for)"
    )


class Watched:
    """What a person sees who looks at the best value after each end, and counts."""

    def __init__(self, run: Simulation, direction: Direction) -> None:
        self.sign = 1.0 if direction == "max" else -1.0
        self.values: dict[str, float] = {}
        self.best: float | None = None
        self.no_better = 0

    def end(self, event: AttemptEnd) -> None:
        if isinstance(event, Failed):
            return
        if isinstance(event, Finished):
            self.values[event.trial_id] = self.sign * event.value
        elif isinstance(event, Diverged):
            self.values.pop(event.trial_id, None)
        before, self.best = self.best, max(self.values.values(), default=None)
        better = self.best is not None and (before is None or self.best > before)
        self.no_better = 0 if better else self.no_better + 1


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1000),
    workers=st.integers(1, 4),
    direction=st.sampled_from(["max", "min"]),
    target=st.sampled_from([None, 6.0, 8.0]),
    no_better_for=st.sampled_from([None, 1, 3, 6]),
    promotes=st.booleans(),
    failing=st.sampled_from([0.0, 0.3]),
    diverging=st.sampled_from([0.0, 0.3]),
)
def test_it_ends_where_a_person_who_watches_the_best_value_would(
    seed: int,
    workers: int,
    direction: Direction,
    target: float | None,
    no_better_for: int | None,
    promotes: bool,
    failing: float,
    diverging: float,
) -> None:
    sign = 1.0 if direction == "max" else -1.0
    run = simulate(
        ASHA(resource_max=4, reduction_factor=2) if promotes else RandomSearch(),
        NoStop(),
        lambda params, step, trial_seed: sign * Random(f"{trial_seed}/{step}").randrange(10),
        space=SPACE,
        num_trials=12,
        direction=direction,
        seed=seed,
        workers=workers,
        limits=Limits(
            max_failures=100,
            target=None if target is None else sign * target,
            no_better_for=no_better_for,
        ),
        steps=3,
        failing=failing,
        diverging=diverging,
    )
    watched = Watched(run, direction)
    for _, event, out in run.log:
        if isinstance(event, AttemptEnd):
            watched.end(event)
        reached = target is not None and watched.best is not None and watched.best >= target
        enough = reached or (no_better_for is not None and watched.no_better >= no_better_for)
        finish = next((one for one in out if isinstance(one, Finish)), None)
        assert enough == (finish is not None and finish.early)
        assert finish is None or finish.early == (run.scheduler.ended_early != "")
    best = ranked(run.scheduler.book.trials.values(), direction)
    assert [sign * (t.final_metric or 0.0) for t in best[:1]] == (
        [] if watched.best is None else [watched.best]
    )
