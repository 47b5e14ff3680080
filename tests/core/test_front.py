"""Several metrics: what is on the front, what dominates what, and that a trial has its values whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.core import events as e
from dotrain.core.book import TrialBook
from dotrain.core.criteria import Criteria
from dotrain.core.front import FrontSoFar, Metrics, dominates
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.policy import Direction
from dotrain.core.repeats import Repeats
from dotrain.core.trial import Trial, TrialState

NAMES = ("accuracy", "latency_ms", "size")
DIRECTIONS = st.sampled_from(["max", "min"])
#: Few values, so that there are many ties.
NUMBERS = st.integers(-3, 3).map(float)


@st.composite
def searches(draw: Any) -> tuple[Metrics, list[Trial]]:
    metrics = draw(st.integers(2, 3))
    directions = draw(st.lists(DIRECTIONS, min_size=metrics, max_size=metrics))
    values = st.tuples(*[NUMBERS] * metrics) | st.just(())
    trials = []
    for number, own in enumerate(draw(st.lists(values, max_size=14))):
        trial = Trial({}, trial_id=f"t{number:04d}", number=number, state=TrialState.FINISHED)
        trial.values = own
        trial.final_metric = own[0] if own else None
        if draw(st.integers(0, 5)) == 0:
            trial.notes[Mark.INFEASIBLE] = "too large"
        trials.append(trial)
    return Metrics(dict(zip(NAMES, directions, strict=False))), trials


def is_better(one: Trial, other: Trial, directions: list[Direction]) -> bool:
    """The definition, once more and plainly."""
    nowhere_worse = somewhere_better = True, False
    worse, better = [], []
    for a, b, direction in zip(one.values, other.values, directions, strict=True):
        worse.append(a < b if direction == "max" else a > b)
        better.append(a > b if direction == "max" else a < b)
    nowhere_worse, somewhere_better = not any(worse), any(better)
    return nowhere_worse and somewhere_better


@given(searches())
def test_no_member_is_dominated_and_whoever_is_not_one_is_dominated_by_one(
    search: tuple[Metrics, list[Trial]],
) -> None:
    metrics, trials = search
    ways = list(metrics.directions.values())
    may_win = [t for t in trials if t.values and Mark.INFEASIBLE not in t.notes]
    front = metrics.front(trials)
    assert set(front) <= set(may_win)
    assert len(set(front)) == len(front)
    for trial in may_win:
        dominated = [one for one in may_win if is_better(one, trial, ways)]
        assert (trial in front) == (not dominated)
        assert bool(metrics.dominating(trial, front)) == bool(dominated)
    keys = [(metrics.scores(t), -t.number) for t in front]
    assert keys == sorted(keys, reverse=True)


@given(searches(), st.integers(0, 1))
def test_a_negated_value_with_the_other_direction_changes_nothing(
    search: tuple[Metrics, list[Trial]], index: int
) -> None:
    metrics, trials = search
    before = metrics.front(trials)
    turned = dict(metrics.directions)
    name = NAMES[index]
    turned[name] = "min" if turned[name] == "max" else "max"
    for trial in trials:
        trial.values = tuple(
            -value if at == index else value for at, value in enumerate(trial.values)
        )
    assert Metrics(turned).front(trials) == before


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=3, max_size=3))
def test_domination_is_an_order(three: list[tuple[float, ...]]) -> None:
    a, b, c = three
    assert not dominates(a, a)
    assert not (dominates(a, b) and dominates(b, a))
    assert not (dominates(a, b) and dominates(b, c)) or dominates(a, c)


@given(searches(), st.randoms())
def test_a_front_that_is_kept_up_to_date_is_that_of_all_that_is_known(
    search: tuple[Metrics, list[Trial]], rng: Any
) -> None:
    """Trials end more than once, with other values or none, as promoted ones may."""
    metrics, trials = search
    so_far = FrontSoFar(metrics)
    known: dict[str, Trial] = {}
    for trial in [*trials, *rng.choices(trials, k=len(trials))] if trials else []:
        if trial.trial_id in known:
            trial.values = rng.choice([(), *(one.values for one in trials)])
        others = [one for one in known.values() if one is not trial]
        known[trial.trial_id] = trial
        is_new = metrics.may_win(trial) and not any(
            one.values == trial.values or metrics.dominating(trial, [one])
            for one in metrics.front(others)
        )
        assert so_far.take(trial) == is_new
        front = metrics.front(known.values())
        assert len(so_far) == len({one.values for one in front})


def book(**directions: Direction) -> TrialBook:
    return TrialBook(0, Limits(), criteria=Criteria(metrics=Metrics(directions)))


def running(one: TrialBook) -> Trial:
    trial = Trial({})
    one.accept(trial)
    launch(one, trial)
    return trial


def launch(one: TrialBook, trial: Trial) -> None:
    one.launch(trial, None, "", 0.0, 1)
    one.apply(e.Started(trial.trial_id, trial.attempt), 0.0)


def end(one: TrialBook, trial: Trial, event: type[Any], *told: Any) -> None:
    one.apply(event(trial.trial_id, trial.attempt, *told), 1.0)
    one.validate()


@pytest.mark.parametrize("returned", [{"latency_ms": 3.0, "other": 1.0}, None])
def test_what_is_returned_counts_else_what_was_reported_last(
    returned: dict[str, float] | None,
) -> None:
    one = book(accuracy="max", latency_ms="min")
    trial = running(one)
    end(one, trial, e.Reported, 0, 0.5, {"latency_ms": 9.0})
    end(one, trial, e.Finished, 0.9, returned)
    assert trial.values == (0.9, 3.0 if returned else 9.0)


@pytest.mark.parametrize(
    ("reports", "returned", "had"),
    [
        ([], None, "no other number"),
        ([], {"size": 1.0}, "size"),
        ([{"latency_ms": 1.0}, None], None, "no other number"),
        ([{"latency_ms": 1.0}], {"size": 2.0}, "size"),
    ],
)
def test_a_result_that_lacks_one_fails_and_says_what_there_is(
    reports: list[Any], returned: Any, had: str
) -> None:
    one = book(accuracy="max", latency_ms="min")
    trial = running(one)
    for step, beside in enumerate(reports):
        end(one, trial, e.Reported, step, 0.5, beside)
    end(one, trial, e.Finished, 0.9, returned)
    assert trial.state is TrialState.FAILED
    assert trial.error is not None
    assert trial.error.message == (
        f"no latency_ms (metrics) was returned, nor in the last report; there is {had}"
    )
    assert (trial.final_metric, trial.values) == (None, ())


def test_values_of_different_reports_are_no_result() -> None:
    one = book(accuracy="max", latency_ms="min")
    for beside, expected in (({"latency_ms": 2.0}, (0.6, 2.0)), (None, ())):
        trial = running(one)
        end(one, trial, e.Reported, 0, 0.5, {"latency_ms": 1.0})
        end(one, trial, e.Reported, 1, 0.6, beside)
        end(one, trial, e.Stopped)
        assert (trial.state, trial.final_metric) == (TrialState.STOPPED, 0.6)
        assert trial.values == expected


def test_all_of_three_are_told_or_none_counts() -> None:
    one = book(accuracy="max", latency_ms="min", size="min")
    for beside, values in (
        ({"latency_ms": 2.0}, ()),
        ({"size": 3.0, "latency_ms": 2.0}, (0.6, 2.0, 3.0)),
    ):
        trial = running(one)
        end(one, trial, e.Reported, 0, 0.6, beside)
        end(one, trial, e.Stopped)
        assert trial.values == values
    metrics = Metrics({"accuracy": "max", "latency_ms": "min", "size": "min"})
    assert metrics.scores(trial) == (0.6, -2.0, -3.0)
    assert metrics.scores(Trial({})) == ()


def test_what_a_larger_budget_has_made_of_it_counts_and_of_one_that_diverged_nothing() -> None:
    one = book(accuracy="max", latency_ms="min")
    trial = running(one)
    end(one, trial, e.Finished, 0.9, {"latency_ms": 3.0})
    launch(one, trial)
    assert trial.values == (0.9, 3.0)
    # It returns no other number now, and those of before are no result of this.
    end(one, trial, e.Reported, 0, 0.95)
    end(one, trial, e.Stopped)
    assert trial.values == ()
    other = running(one)
    end(one, other, e.Finished, 0.9, {"latency_ms": 3.0})
    launch(one, other)
    end(one, other, e.Diverged, "returned nan")
    assert other.values == ()


def test_a_trial_that_is_repeated_has_the_means_and_one_that_was_stopped_in_a_repeat_none() -> None:
    header: dict[str, Any] = {
        "metric": "accuracy",
        "direction": "max",
        "seed": 0,
        "config": {"search": {"repeats": 2}},
    }
    header["metrics"] = {"accuracy": "max", "latency_ms": "min"}
    one = TrialBook(0, Limits(), criteria=Criteria.of(header), repeats=Repeats.of(header))
    first, second, third = (running(one) for _ in range(3))
    # The worst by the main metric may be on the front: all repeats are made.
    for trial, values in ((first, (0.9, 0.7)), (second, (0.1, 0.3))):
        for index, value in enumerate(values):
            if index:
                launch(one, trial)
            end(one, trial, e.Finished, value, {"latency_ms": 10 * value})
        assert trial.state is TrialState.FINISHED
    assert [t.values for t in (first, second)] == [(0.8, 8.0), (0.2, 2.0)]
    # What the first repeat has reported is nothing that the second one has told.
    end(one, third, e.Reported, 4, 0.5, {"latency_ms": 1.0})
    end(one, third, e.Finished, 0.5, {"latency_ms": 1.0})
    launch(one, third)
    end(one, third, e.Reported, 4, 0.6)
    end(one, third, e.Stopped)
    assert (third.state, third.values) == (TrialState.STOPPED, ())
    # Nor are the values of a repeat that was stopped a result, whatever it has told.
    stopped = running(one)
    end(one, stopped, e.Finished, 0.5, {"latency_ms": 1.0})
    launch(one, stopped)
    end(one, stopped, e.Reported, 4, 0.6, {"latency_ms": 9.0})
    end(one, stopped, e.Stopped)
    assert (stopped.state, stopped.values) == (TrialState.STOPPED, ())
    fourth = running(one)
    end(one, fourth, e.Reported, 4, 0.5, {"latency_ms": 1.0})
    end(one, fourth, e.Finished, 0.5)
    launch(one, fourth)
    end(one, fourth, e.Reported, 4, 0.6)
    end(one, fourth, e.Finished, 0.5)
    assert fourth.state is TrialState.FAILED


def test_with_one_metric_nothing_is_asked_and_nothing_noted() -> None:
    one = TrialBook(0, Limits())
    trial = running(one)
    end(one, trial, e.Finished, 0.9)
    assert (trial.state, trial.values) == (TrialState.FINISHED, ())
    assert not Metrics.of({"metric": "a", "direction": "max"})


def test_what_is_bounded_must_be_there_as_well() -> None:
    header = {
        "metric": "accuracy",
        "metrics": {"accuracy": "max", "latency_ms": "min"},
        "config": {"search": {"constraints": {"size": {"max": 1}}}},
    }
    one = TrialBook(0, Limits(), criteria=Criteria.of(header))
    for told, message in (
        ({"latency_ms": 1.0}, "no size (search.constraints) was returned or reported"),
        ({"size": 1.0}, "no latency_ms (metrics) was returned"),
    ):
        trial = running(one)
        end(one, trial, e.Finished, 0.5, told)
        assert trial.error is not None
        assert trial.error.message.startswith(message)
    # Of those that are only bounded, what was ever reported will do.
    trial = running(one)
    end(one, trial, e.Reported, 0, 0.5, {"size": 1.0, "latency_ms": 1.0})
    end(one, trial, e.Finished, 0.5)
    assert trial.state is TrialState.FINISHED


def test_the_main_metric_may_be_bounded_too() -> None:
    header = {
        "metric": "accuracy",
        "metrics": {"accuracy": "max", "latency_ms": "min"},
        "config": {"search": {"constraints": {"accuracy": {"min": 0.5}}}},
    }
    one = TrialBook(0, Limits(), criteria=Criteria.of(header))
    for value, note in ((0.4, "accuracy 0.4 is under 0.5"), (0.5, None)):
        trial = running(one)
        end(one, trial, e.Finished, value, {"latency_ms": 1.0})
        assert trial.notes.get(Mark.INFEASIBLE) == note
