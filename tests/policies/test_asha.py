"""ASHA by its law (Li et al. 2020, Algorithm 2), read off what happened, not off its internals."""

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core.events import Failed, Finished, Lost, Stopped
from dotrain.core.instructions import Launch
from dotrain.core.limits import Limits
from dotrain.earlystop.median import MedianStop
from dotrain.earlystop.none import NoStop
from dotrain.optimizers.asha import ASHA
from dotrain.space import Float, Searchspace
from dotrain.testing import Simulation, simulate

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))
PATIENT = Limits(max_failures=10_000)


@dataclass
class Rung:
    """A rung as the law sees it: scores of those who completed it, and who was promoted."""

    scores: dict[str, float] = field(default_factory=dict)
    promoted: set[str] = field(default_factory=set)

    def best(self, count: int) -> list[str]:
        return sorted(self.scores, key=lambda i: (-self.scores[i], i))[:count]


def replay_law(run: Simulation, budgets: list[int], eta: int, direction: str) -> dict[int, Rung]:
    """Walk through the log, asserting the law at every promotion."""
    sign = 1 if direction == "max" else -1
    rungs = {budget: Rung() for budget in budgets}
    budget_of: dict[str, int] = {}
    live: dict[str, int] = {}
    for _, event, instructions in run.log:
        if isinstance(event, Finished | Stopped | Failed | Lost):
            if live.get(event.trial_id) != event.attempt:
                assert not instructions, "late news led to something"
                continue
            del live[event.trial_id]
        if isinstance(event, Finished):
            rungs[budget_of[event.trial_id]].scores[event.trial_id] = sign * event.value
        elif isinstance(event, Stopped):
            rungs[budget_of[event.trial_id]].scores[event.trial_id] = float("-inf")
        for launch in instructions:
            if not isinstance(launch, Launch):
                continue
            trial_id = launch.trial_id
            live[trial_id] = launch.attempt
            before = budget_of.get(trial_id)
            if before is not None and launch.budget != before:
                rung = rungs[before]
                assert launch.budget == budgets[budgets.index(before) + 1], "it skipped a rung"
                assert trial_id in rung.best(len(rung.scores) // eta), "it was not in the top"
                assert trial_id not in rung.promoted, "it was promoted twice"
                rung.promoted.add(trial_id)
            budget_of[trial_id] = int(launch.budget or 0)
    return rungs


@settings(max_examples=150, deadline=None)
@given(
    eta=st.integers(2, 4),
    resource_min=st.integers(1, 3),
    levels=st.integers(0, 3),
    extra=st.integers(0, 5),
    num_trials=st.integers(1, 40),
    workers=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    values=st.integers(1, 50),
    direction=st.sampled_from(["max", "min"]),
    failing=st.sampled_from([0.0, 0.2]),
    losing=st.sampled_from([0.0, 0.2]),
    stopping=st.booleans(),
    checkpoints=st.booleans(),
)
def test_every_promotion_was_due_and_none_is_left_out(
    eta: int,
    resource_min: int,
    levels: int,
    extra: int,
    num_trials: int,
    workers: int,
    seed: int,
    values: int,
    direction: str,
    failing: float,
    losing: float,
    stopping: bool,
    checkpoints: bool,
) -> None:
    resource_max = resource_min * eta**levels + extra
    optimizer = ASHA(resource_min=resource_min, resource_max=resource_max, reduction_factor=eta)
    run = simulate(
        optimizer,
        MedianStop(min_trials=3) if stopping else NoStop(),
        # Few different values, so that ties are common.
        lambda params, step, trial_seed: float(Random(f"{trial_seed}/{step}").randrange(values)),
        space=SPACE,
        num_trials=num_trials,
        direction=direction,  # type: ignore[arg-type]
        seed=seed,
        workers=workers,
        failing=failing,
        losing=losing,
        # A promotion is decided when a trial ends; it is launched at once only if slots are up.
        restart_s=0.0,
        duplicates=0.2,
        late=0.5,
        stragglers=0.2,
        checkpoints=checkpoints,
        limits=PATIENT,
    )
    assert run.scheduler.status == "finished"
    assert len(run.scheduler.book.trials) == num_trials
    budgets = [resource_min * eta**k for k in range(20) if resource_min * eta**k <= resource_max]
    rungs = replay_law(run, budgets, eta, direction)
    for budget in budgets[:-1]:
        rung = rungs[budget]
        unpromoted = [i for i in rung.best(len(rung.scores)) if i not in rung.promoted]
        promotable = [i for i in unpromoted if rung.scores[i] != float("-inf")]
        if promotable:
            due = rung.best(len(rung.scores) // eta)
            assert promotable[0] not in due, "a promotion was due when the search ended"
    assert not rungs[budgets[-1]].promoted


def test_the_top_rung_trains_to_resource_max_and_the_best_configuration_gets_there() -> None:
    run = simulate(
        ASHA(resource_max=27),
        NoStop(),
        lambda params, step, seed: params["x"] * (step + 1),
        space=SPACE,
        num_trials=54,
    )
    trials = run.scheduler.book.trials.values()
    best = max(trials, key=lambda t: t.params["x"])
    assert [result.budget for result in best.results] == [1, 3, 9, 27]
    assert best.step_history == list(range(27))


def test_min_keeps_the_smallest_values() -> None:
    run = simulate(
        ASHA(resource_max=9),
        NoStop(),
        lambda params, step, seed: params["x"],
        space=SPACE,
        num_trials=27,
        direction="min",
    )
    trials = list(run.scheduler.book.trials.values())
    top = [t.params["x"] for t in trials if t.budget == 9]
    assert min(t.params["x"] for t in trials) in top


def test_a_promoted_trial_goes_on_from_its_checkpoint_and_the_saving_is_counted() -> None:
    def run(checkpoints: bool) -> Simulation:
        return simulate(
            ASHA(resource_max=9),
            NoStop(),
            lambda params, step, seed: params["x"] + step,
            space=SPACE,
            num_trials=27,
            workers=1,
            checkpoints=checkpoints,
        )

    kept, again = run(True), run(False)
    trials = kept.scheduler.book.trials.values()
    steps = sum(t.steps_run for t in trials)
    saved = sum(t.steps_saved for t in trials)
    assert saved > 0
    assert sum(t.steps_run for t in again.scheduler.book.trials.values()) == steps + saved
    assert sum(t.steps_saved for t in again.scheduler.book.trials.values()) == 0


def test_with_one_worker_and_no_surprises_a_run_does_at_least_the_plan() -> None:
    optimizer = ASHA(resource_max=9)
    run = simulate(
        optimizer, NoStop(), lambda p, s, _: p["x"], space=SPACE, num_trials=27, workers=1
    )
    plan = optimizer.plan()
    assert [tuple(rung) for rung in plan.rungs] == [(1, 27), (3, 9), (9, 3)]
    assert plan.launches == 39
    assert (plan.steps, plan.steps_from_scratch) == (27 + 9 * 2 + 3 * 6, 27 + 9 * 3 + 3 * 9)
    done = sum(t.steps_run for t in run.scheduler.book.trials.values())
    assert done >= (plan.steps or 0)
    assert len(run.launches) >= plan.launches


@pytest.mark.parametrize(
    ("resource_max", "note"), [(10, "the top rung is 9 steps"), (81, "no trial is sure to reach")]
)
def test_the_plan_says_what_may_surprise(resource_max: int, note: str) -> None:
    optimizer = ASHA(resource_max=resource_max)
    optimizer.setup(SPACE, 27, "max", 0)
    assert any(note in line for line in optimizer.plan().notes)


def test_resource_min_over_resource_max_is_refused() -> None:
    with pytest.raises(ValueError, match="resource_min 9 is over resource_max 3"):
        ASHA(resource_min=9, resource_max=3)
