"""A configuration of a finite space is tried once; nothing else has changed for any seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from dotrain import plugins
from dotrain.core.policy import AbstractOptimizer, Suggestion
from dotrain.core.seeding import derive_rng
from dotrain.core.trial import Trial
from dotrain.earlystop.none import NoStop
from dotrain.errors import UsageError
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.grid import GridSearch
from dotrain.optimizers.random import RandomSearch
from dotrain.space import Categorical, Discrete, Domain, Float, Int, Params, Searchspace
from dotrain.testing import check_optimizer, simulate

#: What was suggested before each configuration was tried once, for seeds 0, 1 and 7.
INFINITE = Searchspace(
    lr=Float(range=(1e-4, 1e-1), scale="log"),
    units=Int(range=(1, 3)),
    opt=Categorical(values=["sgd", "adam"]),
    momentum=Float(range=(0.0, 1.0), when={"opt": "sgd"}),
)
GOLDEN: dict[int, list[Params]] = {
    0: [
        {"lr": 0.005443130928508425, "units": 3, "opt": "adam"},
        {"lr": 0.07057795621814429, "units": 1, "opt": "sgd", "momentum": 0.09007832905479918},
        {"lr": 0.00784777296672173, "units": 3, "opt": "sgd", "momentum": 0.07966492689712112},
        {"lr": 0.004140815753918997, "units": 3, "opt": "sgd", "momentum": 0.705359796085072},
    ],
    1: [
        {"lr": 0.003729204498182099, "units": 2, "opt": "sgd", "momentum": 0.08535328993967373},
        {"lr": 0.0020624428293474113, "units": 3, "opt": "adam"},
        {"lr": 0.00635044091255435, "units": 2, "opt": "adam"},
        {"lr": 0.008708930892569071, "units": 1, "opt": "adam"},
    ],
    7: [
        {"lr": 0.00011189814982846698, "units": 2, "opt": "adam"},
        {"lr": 0.00047996275195068836, "units": 1, "opt": "adam"},
        {"lr": 0.010122889001391964, "units": 3, "opt": "adam"},
        {"lr": 0.0021355584379272492, "units": 1, "opt": "adam"},
    ],
}
#: The same of a finite space, with its repeats.
FINITE = Searchspace(a=Int(range=(1, 2)), b=Categorical(values=["x", "y", "z"]))
REPEATING = {
    0: [
        "2z",
        "2y",
        "2x",
        "1x",
        "2z",
        "1x",
        "2z",
        "1z",
        "2x",
        "1x",
        "1z",
        "1x",
        "1x",
        "1z",
        "1x",
        "2y",
    ],
    1: [
        "2y",
        "1x",
        "1z",
        "2z",
        "2y",
        "2x",
        "2x",
        "2x",
        "1y",
        "2y",
        "2x",
        "2x",
        "2z",
        "1y",
        "2x",
        "2y",
    ],
}
SAMPLERS: list[Callable[[], AbstractOptimizer]] = [RandomSearch, lambda: ASHA(resource_max=3)]


def tried(optimizer: AbstractOptimizer, space: Searchspace, **kwargs: Any) -> list[Params]:
    run = simulate(optimizer, NoStop(), lambda p, s, _: 1.0, space=space, **kwargs)
    assert run.scheduler.status == "finished"
    return [trial.params for trial in run.scheduler.book.trials.values()]


def texts(params: list[Params]) -> list[str]:
    return ["".join(map(str, one.values())) for one in params]


@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize("seed", GOLDEN)
def test_an_infinite_space_is_drawn_from_as_ever(
    make: Callable[[], AbstractOptimizer], seed: int
) -> None:
    assert tried(make(), INFINITE, num_trials=4, seed=seed) == GOLDEN[seed]


@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize("seed", REPEATING)
def test_a_finite_space_loses_its_repeats_and_nothing_else(
    make: Callable[[], AbstractOptimizer], seed: int
) -> None:
    now = texts(tried(make(), FINITE, num_trials=16, seed=seed))
    first = list(dict.fromkeys(REPEATING[seed]))
    assert now[: len(first)] == first
    assert len(now) == len(set(now)) == 6


@pytest.mark.parametrize("make", SAMPLERS)
@pytest.mark.parametrize("seed", REPEATING)
def test_a_run_that_began_under_the_old_rule_goes_on_under_it(
    make: Callable[[], AbstractOptimizer], seed: int
) -> None:
    optimizer = make()
    optimizer.tries_once = False
    assert texts(tried(optimizer, FINITE, num_trials=16, seed=seed)) == REPEATING[seed]
    plan = optimizer.plan()
    assert plan is not None
    assert (plan.configurations, plan.notes) == (16, ())


finite_domains: st.SearchStrategy[Domain] = st.one_of(
    st.integers(0, 3).map(lambda width: Int(range=(1, 1 + width))),
    st.just(Float(range=(0.0, 1.0), step=0.5)),
    st.just(Discrete(values=[1, 2.5])),
    st.just(Categorical(values=[1, True, "x", None])),
)


@st.composite
def finite_spaces(draw: st.DrawFn) -> Searchspace:
    """Up to four parameters, each under a condition on some of the others perhaps."""
    names = draw(st.permutations("abcd"))[: draw(st.integers(1, 4))]
    found: dict[str, Domain] = {}
    for name in names:
        domain = draw(finite_domains)
        when: dict[str, Any] = {}
        for other in draw(st.sets(st.sampled_from(sorted(found)), max_size=2)) if found else ():
            values = found[other].grid()
            if not isinstance(found[other], Categorical) and draw(st.booleans()):
                when[other] = {draw(st.sampled_from(["min", "max"])): draw(st.sampled_from(values))}
            else:
                when[other] = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))
        found[name] = type(domain)(**{**domain.__dict__, "when": when})
    # In an order that says nothing of the conditions.
    try:
        return Searchspace(**{name: found[name] for name in sorted(found)})
    except UsageError:  # conditions that never hold together
        reject()


@settings(max_examples=60, deadline=None)
@given(finite_spaces(), st.integers(0, 10_000))
def test_the_new_sequence_is_the_old_one_without_its_repeats(space: Searchspace, seed: int) -> None:
    size = space.size or 0
    new = tried(RandomSearch(), space, num_trials=size + 1, seed=seed)
    rng, old, repeats = derive_rng(seed, "optimizer"), dict[str, None](), 0
    while len(old) < size and repeats < 1000:  # then what is left is counted out
        params = repr(space.sample(rng))
        repeats = repeats + 1 if params in old else 0
        old[params] = None
    assert [repr(params) for params in new][: len(old)] == list(old)
    assert len({repr(params) for params in new}) == len(new) == size
    assert all(params in space for params in new)


@settings(max_examples=20, deadline=None)
@given(finite_spaces(), st.integers(0, 10_000))
def test_every_sampler_tries_all_there_is_and_ends(space: Searchspace, seed: int) -> None:
    for make in (*SAMPLERS, GridSearch):
        found = tried(make(), space, num_trials=(space.size or 0) + 5, seed=seed, failing=0.0)
        assert len(found) == len({repr(params) for params in found}) == space.size


def naive_grid(space: Searchspace) -> list[Params]:
    """All combinations, each cut down to what it has; the first of equals counts."""
    found: dict[str, Params] = {}

    def has(name: str, chosen: Params) -> bool:
        from dotrain.space.conditions import is_met

        when = space.domains[name].when.items()
        return all(has(other, chosen) and is_met(one, chosen[other]) for other, one in when)

    def fill(names: list[str], chosen: Params) -> None:
        if not names:
            params = {name: value for name, value in chosen.items() if has(name, chosen)}
            found.setdefault(repr(params), params)
            return
        for value in space.domains[names[0]].grid():
            fill(names[1:], {**chosen, names[0]: value})

    fill(list(space.names), {})
    return list(found.values())


@settings(max_examples=100, deadline=None)
@given(finite_spaces())
def test_a_grid_has_every_configuration_once_in_the_order_of_the_names(space: Searchspace) -> None:
    grid, naive = list(space.grid()), naive_grid(space)
    assert [repr(params) for params in grid] == [repr(params) for params in naive]
    assert space.size == len(grid)
    every = space.configurations()
    assert {repr(every.at(n)) for n in range(every.size)} == {repr(params) for params in grid}


def test_a_huge_finite_space_is_counted_not_gone_through() -> None:
    wide = {f"p{i}": Int(range=(1, 10**4)) for i in range(12)}
    assert Searchspace(**wide).size == 10**48
    depth = Int(range=(1, 10**12))
    deep = Searchspace(depth=depth, **{
        f"w{i}": Int(range=(1, 1000), when={"depth": {"min": i}}) for i in range(1, 30)
    })  # fmt: skip
    assert deep.size == sum(1000**i for i in range(1, 29)) + (10**12 - 28) * 1000**29
    assert deep.configurations().at((deep.size or 0) - 1) in deep
    flags = {f"on{i}": Categorical(values=[True, False]) for i in range(40)}
    sizes = {f"w{i}": Int(range=(1, 9), when={f"on{i}": True}) for i in range(40)}
    assert Searchspace(**flags, **sizes).size == 10**40
    assert len(tried(RandomSearch(), deep, num_trials=30)) == 30


def test_a_grid_of_a_huge_space_begins_at_once() -> None:
    space = Searchspace(a=Int(range=(1, 10**12)), b=Int(range=(0, 1), when={"a": {"max": 1}}))
    assert tried(GridSearch(), space, num_trials=3) == [
        {"a": 1, "b": 0}, {"a": 1, "b": 1}, {"a": 2}
    ]  # fmt: skip


def test_what_is_seldom_drawn_is_found_in_a_space_too_large_to_go_through() -> None:
    """All but one in a thousand draws repeat themselves; nearly all of the space is behind that one."""
    space = Searchspace(
        kind=Int(range=(1, 2000)), deep=Int(range=(1, 10**12), when={"kind": {"min": 2000}})
    )
    optimizer = RandomSearch()
    optimizer.setup(space, None, "max", 0)
    optimizer.initialize()
    found = [optimizer.get_suggestion() for _ in range(2500)]
    assert len({repr(trial.params) for trial in found if trial}) == 2500


def test_a_large_space_is_used_up_to_the_last_configuration() -> None:
    space = Searchspace(a=Int(range=(1, 3000), scale="log"))
    optimizer = RandomSearch()
    optimizer.setup(space, None, "max", 3)
    optimizer.initialize()
    found = []
    while (trial := optimizer.get_suggestion()) is not None:
        found.append(trial.params["a"])
    assert sorted(found) == list(range(1, 3001))


class Stubborn(RandomSearch):
    """Draws the same again and again."""

    def get_suggestion(self, trial: Trial | None = None) -> Trial | None:
        params = self.draw_untried(lambda: {"a": 3})
        return None if params is None else self.create_trial(params)


def test_of_what_is_left_each_is_as_likely() -> None:
    space = Searchspace(a=Int(range=(1, 6)))
    orders = [[p["a"] for p in tried(Stubborn(), space, num_trials=6, seed=n)] for n in range(60)]
    assert {order[0] for order in orders} == {3}
    for place in range(1, 6):
        assert {order[place] for order in orders} == {1, 2, 4, 5, 6}
    assert orders[7] == [p["a"] for p in tried(Stubborn(), space, num_trials=6, seed=7)]


@pytest.mark.parametrize("name", ["random", "asha"])
def test_the_plan_has_no_more_configurations_than_the_space(name: str) -> None:
    options = {"resource_max": 9} if name == "asha" else {}
    optimizer = plugins.load_plugin(plugins.OPTIMIZERS, name)(**options)
    optimizer.setup(FINITE, 50, "max", 0)
    plan = optimizer.plan()
    assert plan.configurations == 6
    assert plan.notes[0] == (
        "the space has 6 configurations, fewer than num_trials 50: each is tried once, then the "
        "search ends"
    )
    assert [rung.trials for rung in plan.rungs] == ([6, 2, 0] if name == "asha" else [])
    optimizer.setup(FINITE, 6, "max", 0)
    assert not any("the space has" in note for note in optimizer.plan().notes)


def test_asha_goes_on_with_promotions_when_the_space_is_used_up() -> None:
    optimizer = ASHA(resource_max=9)
    run = simulate(
        optimizer, NoStop(), lambda p, s, _: p["a"], num_trials=50, workers=2,
        space=Searchspace(a=Int(range=(1, 9))),
    )  # fmt: skip
    assert run.scheduler.status == "finished"
    trials = {trial.params["a"]: trial for trial in run.scheduler.book.trials.values()}
    assert sorted(trials) == list(range(1, 10))
    assert trials[9].budget == 9


class Guessing(AbstractOptimizer):
    """A user's own, which mixes guesses with draws of its own making."""

    def initialize(self) -> None:
        self._guesses = [{"a": 2, "b": "z"}, {"a": 1, "b": "y"}]

    def get_suggestion(self, trial: Trial | None = None) -> Suggestion:
        if self._guesses:
            return self.create_trial(self._guesses.pop())
        own = Random(str(self.rng.random()))
        params = self.draw_untried(lambda: self.searchspace.sample(own))
        return None if params is None else self.create_trial(params)


def test_an_optimizer_of_ones_own_gets_each_configuration_once() -> None:
    found = texts(tried(Guessing(), FINITE, num_trials=20))
    assert found[:2] == ["1y", "2z"]
    assert sorted(found) == ["1x", "1y", "1z", "2x", "2y", "2z"]


def test_the_kit_notices_a_configuration_that_is_tried_twice() -> None:
    class Repeats(RandomSearch):
        def initialize(self) -> None:
            super().initialize()
            self.tries_once = False

    with pytest.raises(AssertionError, match="is tried twice"):
        check_optimizer(Repeats)


CONFIG = """
train: {train}
metric: loss
direction: min
search:
  space: {{a: {{type: int, range: [1, 3]}}}}
  num_trials: 10
cluster: {{kind: inline}}
"""


def test_check_and_run_say_that_the_space_is_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dotrain.config import load_config
    from dotrain.config.plan import make_plan
    from dotrain.experiment import run

    (tmp_path / "train.py").write_text("def train(a):\n    return a\n")
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.format(train="train.py:train"))
    note = "the space has 3 configurations, fewer than num_trials 10"
    plan = make_plan(load_config(config))
    assert plan["configurations"] == plan["launches"] == 3
    assert any(note in line for line in plan["notes"])
    result = run(config, runs_dir=tmp_path / "runs")
    assert result.summary["trials"]["total"] == 3
    assert capsys.readouterr().err.count(f"note: {note}") == 1
