"""Every registered policy keeps the contract; the registry itself is the list of cases."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest

from dotrain import plugins
from dotrain.core.asking import may_continue
from dotrain.core.policy import AbstractOptimizer
from dotrain.core.trial import Trial, TrialState
from dotrain.earlystop.none import NoStop
from dotrain.errors import PolicyError
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.grid import GridSearch
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Discrete, Float, Int, Searchspace
from dotrain.testing import check_early_stop, check_optimizer

#: What a plugin must be given; the rest of its options have defaults.
OPTIONS: dict[str, dict[str, float]] = {
    **{name: {"resource_max": 9} for name in ("asha", "hyperband", "bohb")},
    "pbt": {"population": 8, "interval": 3, "resource_max": 9},
    "patience": {"patience": 2, "min_delta": 1.0},
    "percentile": {"percentile": 25.0},
    "threshold": {"lower": 4.0, "upper": 50.0, "min_steps": 2},
}
#: The same for what is maximised as -f, where options are values of the metric.
MIRRORED: dict[str, dict[str, float]] = {
    "threshold": {"lower": -50.0, "upper": -4.0, "min_steps": 2}
}


#: Of numbers only, none with a condition.
NUMBERS = Searchspace(
    lr=Float(range=(0.0, 1.0), step=0.25),
    units=Int(range=(1, 4)),
    width=Discrete(values=[8, 16]),
    rate=Int(range=(1, 9), scale="log"),
)

#: What is searched, for those that don't take every kind of domain.
SPACES = {"single": Searchspace(), "cmaes": NUMBERS}


@pytest.mark.parametrize("name", sorted(plugins.registered(plugins.OPTIMIZERS)))
def test_every_optimizer_keeps_the_contract(name: str) -> None:
    make = _factory(plugins.OPTIMIZERS, name)
    check_optimizer(make, space=SPACES.get(name), num_trials=1 if name == "single" else 14)


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_asha_with_a_sampler_keeps_the_contract(sampler: Literal["tpe", "gp"]) -> None:
    check_optimizer(lambda: ASHA(resource_max=9, sampler=sampler), num_trials=24)


@pytest.mark.parametrize("name", sorted(plugins.registered(plugins.OPTIMIZERS)))
def test_every_optimizer_plans_what_it_does(name: str) -> None:
    from dotrain.testing import simulate
    from dotrain.testing.contracts import example_curve, example_space

    optimizer = _factory(plugins.OPTIMIZERS, name)()
    space = SPACES.get(name, example_space())
    run = simulate(optimizer, NoStop(), example_curve, space=space, num_trials=14)
    plan = optimizer.plan()
    assert plan is not None
    begun = [trial for trial in run.scheduler.book.trials.values() if not trial.begins_from]
    assert len(begun) == plan.configurations
    if optimizer.lends_checkpoints:
        assert len(run.launches) <= plan.launches
    elif plan.rungs:
        assert len(run.launches) >= plan.launches
    else:
        assert len(run.launches) == plan.launches


@pytest.mark.parametrize("name", sorted(plugins.registered(plugins.EARLY_STOP)))
def test_every_early_stop_rule_keeps_the_contract(name: str) -> None:
    make = _factory(plugins.EARLY_STOP, name)
    mirrored = _factory(plugins.EARLY_STOP, name, MIRRORED) if name in MIRRORED else None
    check_early_stop(make, mirrored=mirrored)


def test_the_optimizer_kit_notices_an_optimizer_that_ignores_its_seed() -> None:
    import random

    from dotrain.optimizers.random import RandomSearch

    class Unseeded(RandomSearch):
        def initialize(self) -> None:
            super().initialize()
            self.rng = random.Random()

    with pytest.raises(AssertionError, match="two runs differ"):
        check_optimizer(Unseeded)


def test_the_optimizer_kit_notices_an_optimizer_that_ignores_the_direction() -> None:
    class MaximizesOnly(ASHA):
        def score(self, value: float) -> float:
            return value

    with pytest.raises(AssertionError, match="min f and max -f differ"):
        check_optimizer(lambda: MaximizesOnly(resource_max=9), num_trials=14)


def test_the_optimizer_kit_notices_values_outside_the_space() -> None:
    from dotrain.core.trial import Trial
    from dotrain.optimizers.random import RandomSearch

    class Outside(RandomSearch):
        def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
            suggestion = super().get_suggestion(trial)
            if suggestion is not None:
                suggestion.params["lr"] = 7.0
            return suggestion

    with pytest.raises(AssertionError, match="not in the space"):
        check_optimizer(Outside, space=Searchspace(lr=Float(range=(0.0, 1.0))))


def test_the_optimizer_kit_notices_a_promotion_of_a_trial_that_was_not_to_continue() -> None:
    class Forgetful(ASHA):
        def may_continue(self, trial: Trial) -> bool:
            return False

    with pytest.raises(AssertionError, match="may not continue, and is promoted"):
        check_optimizer(lambda: Forgetful(resource_max=9), num_trials=14)


def test_the_optimizer_kit_notices_that_a_question_changes_decisions() -> None:
    class Disturbed(RandomSearch):
        def may_continue(self, trial: Trial) -> bool:
            return self.rng.random() < 2

    with pytest.raises(AssertionError, match="being asked may_continue has changed a decision"):
        check_optimizer(Disturbed)


def test_an_answer_that_is_no_yes_or_no_is_told_with_the_optimizers_name() -> None:
    class Vague(RandomSearch):
        def may_continue(self, trial: Trial) -> bool:
            return "perhaps"  # type: ignore[return-value]

    trial = Trial({}, state=TrialState.FINISHED)
    with pytest.raises(PolicyError, match="Vague answered may_continue with 'perhaps'"):
        may_continue(Vague(), trial)
    trial.state = TrialState.STOPPED
    assert not may_continue(Vague(), trial), "nobody goes on with it, whatever the optimizer says"
    trial.state = TrialState.WAITING
    assert may_continue(Vague(), trial)


def test_the_early_stop_kit_notices_a_rule_that_ignores_the_direction() -> None:
    from dotrain.earlystop.median import MedianStop

    class MaximizesOnly(MedianStop):
        def earlystop_check(self, to_check, finalized_trials, direction):  # type: ignore[no-untyped-def]
            return super().earlystop_check(to_check, finalized_trials, "max")

    with pytest.raises(AssertionError, match="min f and max -f differ"):
        check_early_stop(MaximizesOnly)


def test_the_early_stop_kit_notices_a_rule_that_counts_a_step_twice() -> None:
    class Counting(NoStop):
        def initialize(self) -> None:
            self.reports: Counter[str] = Counter()

        def on_report(self, trial: Trial, step: int, value: float) -> None:
            self.reports[trial.trial_id] += 1

        def earlystop_check(self, to_check, finalized_trials, direction):  # type: ignore[no-untyped-def]
            return {i: " at step " for i in to_check if i != "t0000" and self.reports[i] > 5}

    with pytest.raises(AssertionError, match="steps that are done once more change who is stopped"):
        check_early_stop(Counting)


def _factory(
    group: str, name: str, options: Mapping[str, Mapping[str, float]] = OPTIONS
) -> Callable[[], Any]:
    plugin = plugins.load_plugin(group, name)
    return lambda: plugin(**options.get(name, {}))


SUGGESTIONS = """
import sys
from dotrain import plugins
from dotrain.earlystop.none import NoStop
from dotrain.testing import simulate
from dotrain.testing.contracts import example_curve, example_space
from dotrain.space import Searchspace

for name, (options, given) in eval(sys.argv[1]).items():
    for seed in (0, 1):
        optimizer = plugins.load_plugin(plugins.OPTIMIZERS, name)(**options)
        space = example_space() if given is None else Searchspace(**given)
        run = simulate(optimizer, NoStop(), example_curve, space=space, num_trials=14, seed=seed)
        print(name, seed, run.decisions)
"""


def test_another_process_with_another_hash_seed_makes_the_same_suggestions() -> None:
    names = plugins.registered(plugins.OPTIMIZERS)
    spaces = {name: space.to_data() for name, space in SPACES.items()}
    options = repr({name: (OPTIONS.get(name, {}), spaces.get(name)) for name in names})

    def run(hash_seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", SUGGESTIONS, options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    first = run("1")
    assert len(first) == 2 * len(names)
    assert all("Launch" in line for line in first)
    assert run("2") == first


@pytest.mark.parametrize("make", [RandomSearch, lambda: GridSearch(points=3)])
def test_an_optimizer_ends_by_itself_after_num_trials(
    make: Callable[[], AbstractOptimizer],
) -> None:
    space = Searchspace(x=Float(range=(0.0, 1.0)), y=Float(range=(0.0, 1.0)))
    optimizer = make()
    for num_trials in (1, 3, 4):
        optimizer.setup(space, num_trials, "max", 0)
        optimizer.initialize()
        found = [optimizer.get_suggestion() for _ in range(num_trials + 2)]
        assert [trial is None for trial in found] == [False] * num_trials + [True] * 2
        if isinstance(optimizer, GridSearch):
            reasons = [trial.reason for trial in found if isinstance(trial, Trial)]
            assert reasons == [f"grid point {n + 1}" for n in range(num_trials)]
