"""Brackets of ASHA: who begins where, who is promoted, and what a model is made of."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from dotrain.core.instructions import Ask, Launch
from dotrain.earlystop.none import NoStop
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.hyperband import BOHB, Hyperband
from dotrain.space import Float, Searchspace
from dotrain.testing import Simulation, simulate

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))


def curve(params: dict[str, Any], step: int, seed: int) -> float:
    return float(params["x"]) * (step + 1)


def search(optimizer: Any, num_trials: int = 33, workers: int = 3) -> Simulation:
    return simulate(optimizer, NoStop(), curve, space=SPACE, num_trials=num_trials, workers=workers)


def first_budgets(run: Simulation) -> Counter[float | None]:
    return Counter(launch.budget for launch in run.launches if launch.attempt == 1)


def test_new_trials_are_spread_over_the_brackets_as_hyperband_does() -> None:
    """R = 9, eta = 3: 9, 5 and 3 trials in the paper's brackets, before it rounds up 9, 4.5 and 3."""
    assert first_budgets(search(Hyperband(resource_max=9))) == {1: 18, 3: 9, 9: 6}


def test_at_any_time_no_bracket_is_far_behind_its_share() -> None:
    launches = [one for one in search(Hyperband(resource_max=9)).launches if one.attempt == 1]
    shares = {1: 9, 3: 4.5, 9: 3}
    for count in range(1, len(launches)):
        begun = Counter(one.budget for one in launches[:count])
        served = max(begun[budget] / share for budget, share in shares.items())
        assert served <= min((begun[budget] + 1) / share for budget, share in shares.items())


def test_one_bracket_is_asha() -> None:
    alone = search(Hyperband(resource_max=27, brackets=1)).decisions
    assert alone == search(ASHA(resource_max=27)).decisions


@pytest.mark.parametrize("brackets", [None, 2])
def test_of_each_rung_the_best_of_its_own_bracket_go_on(brackets: int | None) -> None:
    run = search(Hyperband(resource_max=9, brackets=brackets), 66)
    begun = {one.trial_id: one.budget for one in run.launches if one.attempt == 1}
    trials = run.scheduler.book.trials
    for bracket, budgets in ((1, [1, 3, 9]), (3, [3, 9]), (9, [9])):
        members = [trials[name] for name, first in begun.items() if first == bracket]
        reached = members
        for budget in budgets[:-1]:
            promoted = [t for t in reached if any(r.budget > budget for r in t.results)]
            best = sorted(reached, key=lambda t: -t.params["x"])[: len(reached) // 3]
            assert all(trial in promoted for trial in best)
            reached = promoted
        assert all(t.results[-1].budget <= 9 for t in members)


def test_a_model_is_made_of_the_largest_budget_with_ten_results_in_whatever_bracket() -> None:
    run = search(BOHB(resource_max=9), 60)
    levels = [one.level for _, _, out in run.log for one in out if isinstance(one, Ask)]
    assert levels == sorted(levels, key=lambda level: level or 0), "results only become more"
    assert levels[0] in (1, 3)
    assert levels[-1] == 9


def test_one_in_three_is_drawn_at_random_beside_the_model() -> None:
    run = search(BOHB(resource_max=9), 300)
    new = [one for one in run.launches if one.attempt == 1][60:]
    drawn = sum(one.reason.startswith("random draw") for one in new)
    assert 0.23 < drawn / len(new) < 0.43


def test_the_reason_says_where_a_trial_begins() -> None:
    launches: list[Launch] = search(Hyperband(resource_max=9)).launches
    reasons = {one.reason for one in launches if one.attempt == 1}
    assert reasons == {
        "random draw for the lowest rung",
        "random draw to begin with 3 steps",
        "random draw to begin with 9 steps",
    }
