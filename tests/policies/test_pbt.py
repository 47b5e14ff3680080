"""Population based training: who is replaced, by whom, and when it ends."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain import AbstractEarlyStop
from dotrain.core.instructions import Launch
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.observer import RunView
from dotrain.core.policy import Plan
from dotrain.core.trial import Trial, TrialState
from dotrain.earlystop.median import MedianStop
from dotrain.earlystop.none import NoStop
from dotrain.earlystop.percentile import PercentileStop
from dotrain.errors import PolicyError
from dotrain.optimizers.pbt import PBT
from dotrain.optimizers.random import RandomSearch
from dotrain.report.progress import Progress
from dotrain.space import Float, Params, Searchspace
from dotrain.testing import Simulation, check_optimizer, simulate

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))


def pbt(**options: Any) -> PBT:
    return PBT(**{"population": 8, "interval": 2, "resource_max": 10, **options})


def by_x(params: Params, step: int, seed: int) -> float:
    return float(params["x"] * (step + 1))


def search(optimizer: PBT | None = None, **given: Any) -> Simulation:
    defaults: dict[str, Any] = {"space": SPACE, "num_trials": None, "workers": 3, "noise": 0.0}
    rule = given.pop("rule", None) or NoStop()
    curve = given.pop("curve", by_x)
    return simulate(optimizer or pbt(), rule, curve, **{**defaults, **given})


def trials_of(run: Simulation) -> list[Trial]:
    return list(run.scheduler.book.trials.values())


def members_at_the_end(run: Simulation, resource_max: int = 10) -> list[Trial]:
    return [t for t in trials_of(run) if t.results and t.results[-1].budget == resource_max]


def replaced(run: Simulation) -> dict[str, Launch]:
    """Return the first launch of each trial that took another one's place, by that one."""
    firsts = [one for one in run.launches if one.attempt == 1 and "in place of" in one.reason]
    found = {one.reason.split("in place of ")[1][:5]: one for one in firsts}
    assert len(found) == len(firsts), "a member is replaced twice"
    return found


@pytest.mark.parametrize("workers", [1, 3, 100])
def test_every_member_comes_to_its_end_or_is_replaced(workers: int) -> None:
    run = search(workers=workers)
    assert run.scheduler.status == "finished"
    ended, gone = {t.trial_id for t in members_at_the_end(run)}, set(replaced(run))
    assert ended.isdisjoint(gone)
    assert ended | gone == set(run.scheduler.book.trials)
    assert len(ended) == 8
    assert gone, "nobody was ever replaced"


@settings(max_examples=25, deadline=None)
@given(
    workers=st.sampled_from([1, 2, 3, 7, 100]),
    seed=st.integers(0, 50),
    population=st.integers(4, 9),
    interval=st.integers(1, 4),
    resource_max=st.integers(5, 11),
    fault=st.sampled_from(["", "failing", "losing", "diverging", "stragglers", "hanging"]),
)
def test_it_ends_whatever_happens(
    workers: int, seed: int, population: int, interval: int, resource_max: int, fault: str
) -> None:
    faults: dict[str, Any] = {fault: 0.2} if fault else {}
    limits = Limits(max_failures=10_000, trial_timeout_s=60.0)
    run = search(
        pbt(population=population, interval=interval, resource_max=resource_max),
        **{"workers": workers, "seed": seed, "limits": limits, **faults},
    )
    trials = run.scheduler.book.trials
    assert run.scheduler.status == "finished"
    ended = {t.trial_id for t in members_at_the_end(run, resource_max)}
    dead = {i for i, t in trials.items() if t.state is not TrialState.FINISHED}
    assert ended | dead | set(replaced(run)) == set(trials)
    assert len(ended) <= population
    for launch in run.launches:
        budget = int(launch.budget or 0)
        turns = {*range(interval, resource_max, interval), resource_max}
        assert budget in turns
        if launch.begins_from:
            assert 0 < launch.begins_at < budget
            assert launch.params in SPACE
    for trial in trials.values():
        if trial.begins_from and trial.step_history:
            assert Mark.INHERITED in trial.notes
            assert trial.step_history[0] == trial.begins_at


@pytest.mark.parametrize("workers", [1, 4, 100])
def test_the_worst_are_replaced_by_the_best_at_the_same_step(workers: int) -> None:
    run = search(workers=workers)
    trials = run.scheduler.book.trials
    for gone, launch in replaced(run).items():
        steps = int(trials[gone].results[-1].budget or 0)
        lender = next(r.value for r in trials[launch.begins_from].results if r.budget == steps)
        assert lender > trials[gone].results[-1].value
        assert launch.begins_at >= steps


def test_with_one_slot_all_members_take_a_turn_before_anybody_is_judged() -> None:
    run = search(workers=1)
    first = run.launches[:8]
    assert [one.trial_id for one in first] == [f"t000{n}" for n in range(8)]
    assert all(one.budget == 2 for one in first)
    worst = sorted(first, key=lambda one: one.params["x"])[:2]
    best = sorted(first, key=lambda one: one.params["x"])[-2:]
    second = [one for one in run.launches[8:16] if one.attempt == 1]
    assert {gone for gone, one in replaced(run).items() if one in second} == {
        one.trial_id for one in worst
    }
    assert {one.begins_from for one in second} <= {one.trial_id for one in best}


def test_hyperparameters_are_near_those_of_the_lender() -> None:
    run = search(pbt(resample_probability=0.0), workers=1)
    trials = run.scheduler.book.trials
    for launch in replaced(run).values():
        lender = trials[launch.begins_from].params["x"]
        near = {min(lender * factor, 1.0) for factor in (0.8, 1.2)}
        assert launch.params["x"] in near


def test_a_lender_keeps_the_checkpoint_of_its_last_turn_while_it_takes_the_next() -> None:
    run = search()
    kept: dict[str, int] = {}
    for launch in run.launches:
        if launch.begins_from and launch.attempt == 1:
            lent = kept.get(launch.begins_from, 0)
            done = [r.budget for r in run.scheduler.book.trials[launch.begins_from].results]
            assert launch.begins_at in done
            assert launch.begins_at >= lent
        kept[launch.trial_id] = launch.keep_step
        assert launch.keep_step < int(launch.budget or 0)


class _At(AbstractEarlyStop):
    def earlystop_check(self, to_check: Any, finalized_trials: Any, direction: Any) -> Any:
        return [t for t in to_check.values() if t.params["x"] < 0.6 and t.last_step == 4]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("given", "state"),
    [
        ({"rule": _At()}, TrialState.STOPPED),
        (
            {"curve": lambda p, s, _: float("nan") if p["x"] < 0.6 and s == 4 else by_x(p, s, 0)},
            TrialState.DIVERGED,
        ),
    ],
)
def test_who_is_stopped_or_diverges_is_replaced_by_a_good_one(
    given: dict[str, Any], state: TrialState, workers: int
) -> None:
    run = search(pbt(quantile=0.125, resample_probability=0.0), workers=workers, **given)
    gone = {i for i, t in run.scheduler.book.trials.items() if t.state is state}
    assert gone
    assert gone <= set(replaced(run))
    assert all(replaced(run)[one].begins_from for one in gone)
    assert len(members_at_the_end(run)) == 8


def test_who_fails_before_anybody_has_finished_is_replaced_by_a_draw() -> None:
    fails = lambda params, step, _: float("nan") if params["x"] > 0.08 else by_x(params, step, 0)  # noqa: E731
    run = search(workers=1, curve=fails, limits=Limits(max_failures=1000))
    drawn = [one for one in run.launches if one.reason.startswith("random draw in place of")]
    assert drawn
    assert not any(one.begins_from for one in drawn)
    assert members_at_the_end(run)


def test_the_number_of_trials_bounds_all_of_them() -> None:
    for num_trials in (8, 9, 12):
        run = search(num_trials=num_trials, workers=1)
        assert len(trials_of(run)) <= num_trials
        assert len(members_at_the_end(run)) == 8
    assert not replaced(search(num_trials=8, workers=1))
    always = search(
        curve=lambda *_: float("nan"), workers=1, limits=Limits(max_failures=1000), num_trials=None
    )
    assert len(trials_of(always)) == 8 * 5


def test_what_is_to_be_tried_first_are_the_first_members() -> None:
    optimizer = pbt()
    suggest = optimizer.get_suggestion
    optimizer.setup(SPACE, None, "max", 0)
    optimizer.first.extend([{"x": 0.25}, {"x": 0.75}])
    optimizer.initialize()
    found = [suggest() for _ in range(8)]
    assert [one.params["x"] for one in found[:2] if isinstance(one, Trial)] == [0.25, 0.75]
    assert isinstance(found[0], Trial)
    assert "try_first" in found[0].reason
    optimizer.first.append({"x": 0.5})  # a run that goes on
    more = suggest()
    assert isinstance(more, Trial)
    assert more.params == {"x": 0.5}


def test_nobody_is_told_of_so_many_of_so_many(tmp_path: Path) -> None:
    optimizer = pbt()
    run = search(optimizer, workers=1)
    view = RunView(run.scheduler, tmp_path, [])
    assert Progress(view, optimizer.plan()).planned is None
    assert Progress(view, Plan(8, 8)).planned == 8


def test_a_small_space_has_fewer_members_and_the_plan_says_so() -> None:
    space = Searchspace(x=Float(range=(0.0, 1.0), step=0.5))
    optimizer = pbt()
    run = search(optimizer, space=space)
    assert len([one for one in trials_of(run) if not one.begins_from]) == 3
    plan = optimizer.plan()
    assert plan.configurations == 3
    assert "3 configurations" in plan.notes[-1]


@pytest.mark.parametrize("options", [{}, {"population": 4, "interval": 3, "resource_max": 10}])
def test_the_contract_holds_in_a_continuum(options: dict[str, Any]) -> None:
    check_optimizer(lambda: pbt(**options), space=SPACE, num_trials=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"interval": 10}, "interval 10 is not under resource_max 10"),
        ({"population": 3}, "take a population of 4 or more"),
        ({"population": 9, "quantile": 0.1}, "take a population of 10 or more"),
        ({"perturbation_factors": (1.2, 0.8)}, "one number between 0 and 1, then one above 1"),
        ({"perturbation_factors": (0.0, 2.0)}, "one number between 0 and 1, then one above 1"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pbt(**options)


@pytest.mark.parametrize("rule", [MedianStop(), PercentileStop(percentile=25)])
def test_a_rule_that_compares_from_the_first_step_on_is_refused(rule: AbstractEarlyStop) -> None:
    with pytest.raises(ValueError, match="trials begin from others' checkpoints"):
        search(rule=rule)


def test_fewer_trials_than_members_are_refused() -> None:
    optimizer = pbt()
    optimizer.setup(SPACE, 7, "max", 0)
    with pytest.raises(ValueError, match="num_trials 7 is under population 8"):
        optimizer.check()


def test_a_simulation_without_checkpoints_has_nothing_to_lend() -> None:
    run = search(checkpoints=False, workers=1, limits=Limits(max_failures=1000))
    states = Counter(t.state for t in trials_of(run) if t.begins_from)
    assert set(states) == {TrialState.FAILED}


class _Lender(RandomSearch):
    """Suggests what it was told to after the first trial has ended."""

    lends_checkpoints = True
    gives_budget = True

    def __init__(self, begins_from: str = "t0000", begins_at: int = 2, budget: float = 4) -> None:
        self._second = (begins_from, begins_at, budget)

    def get_suggestion(self, trial: Trial | None = None) -> Any:
        if trial is None:
            return self.create_trial({"x": 0.5}, 2)
        if trial.number:
            return None
        other = self.create_trial({"x": 0.5}, self._second[2])
        other.begins_from, other.begins_at = self._second[:2]
        return other


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"begins_from": "t0009"}, "t0009 at step 2, which is unknown"),
        ({"begins_at": 1}, "lends step 2"),
        ({"budget": 2}, "steps that the lender has done count"),
    ],
)
def test_a_loan_that_can_not_be_names_the_optimizer(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=f"_Lender.*{message}"):
        simulate(_Lender(**given), NoStop(), by_x, space=SPACE, num_trials=5, workers=1)


def test_any_optimizer_may_lend() -> None:
    run = simulate(_Lender(), NoStop(), by_x, space=SPACE, num_trials=5, workers=1)
    assert [one.begins_from for one in run.launches] == ["", "t0000"]


def test_whose_checkpoint_is_being_copied_is_not_over() -> None:
    optimizer = _Lender()
    seen: list[tuple[bool, bool]] = []
    simulated = simulate

    class Watched(NoStop):
        def on_report(self, trial: Trial, step: int, value: float) -> None:
            seen.append((trial.number == 1, optimizer.trials["t0000"].state.ended))

    run = simulated(optimizer, Watched(), by_x, space=SPACE, num_trials=5, workers=1)
    assert seen[-1] == (True, True)
    scheduler = run.scheduler
    first, second = trials_of(run)
    assert scheduler.is_over(first)
    scheduler.book.borrowing[second.trial_id] = second  # as before it has started
    assert not scheduler.is_over(first)
