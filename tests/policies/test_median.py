"""The median stopping rule (Golovin et al. 2017), and any percentile, against a plain re-computation."""

from fractions import Fraction
from math import nextafter
from random import Random
from statistics import median

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dotrain.core.events import Reported, Stopped
from dotrain.core.instructions import Stop
from dotrain.core.trial import Trial, TrialState
from dotrain.earlystop.median import MedianStop
from dotrain.earlystop.percentile import PercentileStop
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Float, Searchspace
from dotrain.testing import simulate

SPACE = Searchspace(x=Float(range=(0.0, 1.0)))


@settings(max_examples=60, deadline=None)
@example(
    seed=1391, workers=6, min_trials=1, min_reports=0, direction="min", failing=0.0, percentile=25.0
)  # equal to the bar, which was rounded away from it
@given(
    seed=st.integers(0, 10_000),
    workers=st.integers(1, 6),
    min_trials=st.integers(1, 5),
    min_reports=st.integers(0, 3),
    direction=st.sampled_from(["max", "min"]),
    failing=st.sampled_from([0.0, 0.3]),
    percentile=st.sampled_from([None, 5.0, 25.0, 50.0, 66.6, 99.0]),
)
def test_it_stops_exactly_the_trials_below_the_median_of_running_averages(
    seed: int,
    workers: int,
    min_trials: int,
    min_reports: int,
    direction: str,
    failing: float,
    percentile: float | None,
) -> None:
    options = {"min_trials": min_trials, "min_reports": min_reports}
    run = simulate(
        RandomSearch(),
        MedianStop(**options)
        if percentile is None
        else PercentileStop(percentile=percentile, **options),
        lambda params, step, trial_seed: float(Random(f"{trial_seed}/{step}").randrange(20)),
        space=SPACE,
        num_trials=25,
        direction=direction,  # type: ignore[arg-type]
        seed=seed,
        workers=workers,
        failing=failing,
    )
    sign = 1 if direction == "max" else -1
    histories: dict[str, list[float]] = {}
    ended: list[str] = []
    stopping: set[str] = set()
    for _, event, instructions in run.log:
        stops = {i.trial_id for i in instructions if isinstance(i, Stop)}
        if isinstance(event, Reported):
            history = histories.setdefault(event.trial_id, [])
            history.append(sign * event.value)
            n = len(history)
            others = [sum(h[:n]) / n for i in ended if len(h := histories[i]) >= n]
            expected = (
                event.trial_id not in stopping
                and len(others) >= min_trials
                and n > min_reports
                and max(history) < bar_of(others, percentile)
            )
            assert (event.trial_id in stops) == expected
            stopping |= stops
        elif type(event).__name__ == "Finished" or isinstance(event, Stopped):
            ended.append(event.trial_id)


def bar_of(others: list[float], percentile: float | None) -> float:
    """The median, or what the best so many of a hundred are separated by, as in the textbook."""
    if percentile is None:
        return median(others)
    exact = [Fraction(one) for one in sorted(others, reverse=True)]
    place = Fraction(percentile) * (len(exact) - 1) / 100
    here = exact[int(place)]
    beyond = exact[min(int(place) + 1, len(exact) - 1)]
    return float(here + (beyond - here) * (place - int(place)))


@pytest.mark.parametrize("values", [[3.0], [1.0, 2.0], [0.1, 0.7, 0.3, 0.2], [1e-300, 3e300, 1.1]])
def test_the_median_is_percentile_50(values: list[float]) -> None:
    for direction in ("max", "min"):
        for best in (*values, median(values), nextafter(median(values), 0.0)):
            stops = []
            for rule in (MedianStop(min_trials=1), PercentileStop(percentile=50.0, min_trials=1)):
                for number, value in enumerate(values):
                    rule.on_end(ended(f"t{number}", value))
                trial = Trial({}, trial_id="t9", step_history=[0], metric_history=[best])
                rule.on_report(trial, 0, best)
                stops.append(bool(rule.earlystop_check({"t9": trial}, [], direction)))
            is_behind = best < median(values) if direction == "max" else best > median(values)
            assert stops == [is_behind, is_behind]


def ended(trial_id: str, value: float) -> Trial:
    trial = Trial({}, trial_id=trial_id, step_history=[0], metric_history=[value])
    trial.state, trial.final_metric = TrialState.FINISHED, value
    return trial


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        (MedianStop(min_trials=2), "< median 0."),
        (PercentileStop(percentile=12.5, min_trials=2), "< percentile 12.5 (0."),
    ],
)
def test_the_reason_states_the_comparison(rule: PercentileStop, what: str) -> None:
    run = simulate(
        RandomSearch(),
        rule,
        lambda params, step, seed: params["x"],
        space=SPACE,
        num_trials=20,
        workers=1,
    )
    reasons = [i.reason for _, _, out in run.log for i in out if isinstance(i, Stop)]
    assert reasons
    assert all(what in reason and " trials at step " in reason for reason in reasons)


def test_steps_that_are_trained_twice_count_once() -> None:
    run = simulate(
        ASHA(resource_min=2, resource_max=18),
        MedianStop(min_trials=2),
        lambda params, step, seed: params["x"],
        space=SPACE,
        num_trials=27,
        checkpoints=False,
    )
    reasons = [i.reason for _, _, out in run.log for i in out if isinstance(i, Stop)]
    counts = [int(r.split(" of ")[1].split()[0]) for r in reasons if "at step 0:" in r]
    assert counts
    assert max(counts) <= 26


@pytest.mark.parametrize("options", [{"min_trials": 5}, {"min_reports": 3, "min_trials": 1}])
def test_no_trial_is_stopped_before_there_is_enough_to_compare(options: dict[str, int]) -> None:
    run = simulate(
        RandomSearch(),
        MedianStop(**options),
        lambda params, step, seed: params["x"],
        space=SPACE,
        num_trials=15,
        workers=1,
    )
    for trial in list(run.scheduler.book.trials.values())[: options["min_trials"]]:
        assert trial.state == "finished"
    assert all(
        len(t.step_history) > options.get("min_reports", 0)
        for t in run.scheduler.book.trials.values()
    )


def test_what_an_earlier_attempt_reached_beyond_its_checkpoint_counts_no_more() -> None:
    rule = MedianStop(min_trials=1)
    ended = Trial({}, trial_id="t0000", step_history=[0, 1], metric_history=[0.5, 0.5])
    ended.state, ended.final_metric = TrialState.FINISHED, 0.5
    rule.on_end(ended)
    trial = Trial({}, trial_id="t0001", attempt=1, step_history=[0], metric_history=[0.9])
    rule.on_report(trial, 0, 0.9)
    assert rule.earlystop_check({"t0001": trial}, [ended], "max") == {}
    trial.attempt, trial.metric_history = 2, [0.1]  # its worker died, and it began again
    rule.on_report(trial, 0, 0.1)
    assert list(rule.earlystop_check({"t0001": trial}, [ended], "max")) == ["t0001"]


@pytest.mark.parametrize("first", [[0], [0, 1, 2]], ids=["reported too little", "is alone there"])
def test_a_trial_that_can_not_be_judged_hides_no_other(first: list[int]) -> None:
    rule = MedianStop(min_trials=1, min_reports=1)
    ended = Trial({}, trial_id="t0000", step_history=[0, 1], metric_history=[0.5, 0.5])
    ended.state, ended.final_metric = TrialState.FINISHED, 0.5
    rule.on_end(ended)
    running = {}
    for name, steps in (("t0001", first), ("t0002", [0, 1])):
        running[name] = Trial({}, trial_id=name, attempt=1)
        for step in steps:
            running[name].step_history.append(step)
            running[name].metric_history.append(0.1)
            rule.on_report(running[name], step, 0.1)
    assert list(rule.earlystop_check(running, [ended], "max")) == ["t0002"]
