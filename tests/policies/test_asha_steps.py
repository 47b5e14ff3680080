"""ASHA step by step: what takes a place in a rung, and what is suggested next."""

from __future__ import annotations

from typing import Any

import pytest

from dotrain.core.policy import WAIT, Promotion
from dotrain.core.trial import Trial, TrialState
from dotrain.optimizers.asha import ASHA
from dotrain.space import Discrete, Float, Searchspace


class Search:
    """Ends trials as a test says, and notes what is suggested."""

    def __init__(self, num_trials: int = 20, direction: Any = "max", **options: Any) -> None:
        self.asha = ASHA(**{"resource_max": 4, "reduction_factor": 2, **options})
        self.asha.setup(Searchspace(x=Float(range=(0.0, 1.0))), num_trials, direction, 0)
        self.asha.initialize()
        self.trials: list[Trial] = []

    def ask(self, ended: Trial | None = None) -> Any:
        """Return a promotion, the new trial, or what else is said."""
        suggestion = self.asha.get_suggestion(ended)
        if isinstance(suggestion, Trial):
            suggestion.number = len(self.trials)
            suggestion.trial_id = f"t{suggestion.number:04d}"
            self.trials.append(suggestion)
        return suggestion

    def end(self, number: int, value: float | None, state: str = "finished") -> Any:
        trial = self.trials[number]
        trial.state, trial.final_metric = TrialState(state), value
        return self.ask(trial)


@pytest.mark.parametrize("end", ["stopped", "diverged", "failed"])
def test_one_without_a_result_takes_the_last_place_unless_it_failed(end: str) -> None:
    search = Search()
    first, second = search.ask(), search.ask()
    assert (first.budget, second.budget) == (1, 1)
    search.end(0, 0.5 if end == "stopped" else None, end)
    suggestion = search.end(1, 0.1)
    if end == "failed":
        assert isinstance(suggestion, Trial)
    else:
        assert suggestion == Promotion("t0001", 2, suggestion.reason)
        assert suggestion.reason == (
            "promoted to 2 steps: rank 1 of 2 at 1 steps, within the best 1/2"
        )


@pytest.mark.parametrize(("direction", "best"), [("max", "t0001"), ("min", "t0000")])
def test_the_best_is_promoted_up_to_the_top_and_no_further(direction: str, best: str) -> None:
    search = Search(num_trials=4, direction=direction)
    for _ in range(4):
        search.ask()
    assert search.ask() is WAIT
    values = {0: 0.1, 1: 0.9, 2: 0.5, 3: 0.5}
    search.end(0, values[0])
    promoted = {}
    for number in (1, 2, 3):
        suggestion = search.end(number, values[number])
        if isinstance(suggestion, Promotion):
            promoted[suggestion.trial_id] = suggestion.budget
    # Equal ones go in the order in which they were sampled.
    assert promoted == {best: 2, "t0002": 2}
    again = [int(trial_id[1:]) for trial_id in promoted]
    assert search.end(again[0], values[again[0]]) is WAIT
    assert search.end(again[1], values[again[1]]) == Promotion(best, 4, ANY)
    assert search.end(int(best[1:]), 0.7) is None


class _Any:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


ANY: Any = _Any()


def test_a_search_ends_when_all_is_sampled_and_nothing_is_due_or_runs() -> None:
    search = Search(num_trials=2)
    search.ask()
    search.ask()
    assert search.ask() is WAIT
    assert search.end(0, None, "failed") is WAIT
    assert search.end(1, 0.5) is None


def test_a_small_space_is_used_up() -> None:
    search = Search(num_trials=9)
    search.asha.setup(Searchspace(n=Discrete(values=[1, 2])), 9, "max", 0)
    search.asha.initialize()
    assert {search.ask().params["n"] for _ in range(2)} == {1, 2}
    assert search.ask() is WAIT


@pytest.mark.parametrize(
    ("options", "budgets"),
    [
        ({"resource_max": 1}, [1]),
        ({"resource_max": 8, "reduction_factor": 2}, [1, 2, 4, 8]),
        ({"resource_max": 9}, [1, 3, 9]),
        ({"resource_max": 8}, [1, 3]),
        ({"resource_max": 30, "resource_min": 2}, [2, 6, 18]),
        ({"resource_max": 3, "resource_min": 3}, [3]),
    ],
)
def test_budgets_grow_by_the_factor_up_to_the_most(
    options: dict[str, int], budgets: list[int]
) -> None:
    asha = ASHA(**options)
    assert asha.budgets == budgets
    asha.setup(Searchspace(x=Float(range=(0.0, 1.0))), 7, "max", 0)
    plan = asha.plan()
    assert [rung.budget for rung in plan.rungs] == budgets
    factor = options.get("reduction_factor", 3)
    assert [rung.trials for rung in plan.rungs] == [7 // factor**k for k in range(len(budgets))]
    assert (plan.configurations, plan.launches) == (7, sum(r.trials for r in plan.rungs))
    is_short = budgets[-1] < options["resource_max"]
    is_empty = plan.rungs[-1].trials == 0
    assert len(plan.notes) == is_short + is_empty
