"""The search space: domains, conditions, grids, and what can't be."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from enum import Enum, IntEnum, StrEnum
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.errors import UsageError
from dotrain.space import (
    Categorical,
    Discrete,
    Domain,
    Float,
    Int,
    Searchspace,
    SpaceError,
    plain_params,
    plain_value,
    value_key,
)

few = settings(max_examples=60, deadline=None)
units = st.floats(0, 1)
bounds = st.floats(-1e6, 1e6, allow_nan=False)


def ordered(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(numbers, numbers).map(lambda pair: tuple(sorted(pair)))


@st.composite
def floats(draw: st.DrawFn) -> Float:
    kind = draw(st.sampled_from(["linear", "log", "step"]))
    if kind == "log":
        return Float(range=draw(ordered(st.floats(1e-9, 1e6))), scale="log")
    if kind == "linear":
        return Float(range=draw(ordered(bounds)))
    low, step = draw(st.floats(-100, 100)), draw(st.floats(1e-4, 10))
    return Float(range=(low, low + step * draw(st.floats(1, 500))), step=step)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    kind = draw(st.sampled_from(["linear", "log", "step"]))
    if kind == "log":
        return Int(range=draw(ordered(st.integers(1, 10**6))), scale="log")
    low, high = draw(ordered(st.integers(-(10**6), 10**6)))
    if kind == "linear" or low == high:
        return Int(range=(low, high))
    return Int(range=(low, high), step=draw(st.integers(1, high - low)))


numbers = st.integers(-9, 9) | st.floats(-9, 9)
discretes = st.lists(numbers, min_size=1, max_size=9, unique=True).map(
    lambda values: Discrete(values=values)
)
scalars = numbers | st.text(max_size=3) | st.booleans() | st.none()
choices = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=5,
)
categoricals = st.lists(choices, min_size=1, max_size=9, unique_by=value_key).map(
    lambda values: Categorical(values=values)
)
domains = st.one_of(floats(), ints(), discretes, categoricals)


@few
@given(domains, units)
def test_every_value_is_inside_its_domain(domain: Domain, u: float):
    assert domain.from_unit(u) in domain


@few
@given(st.one_of(ints(), discretes, categoricals), units)
def test_unit_interval_and_back_gives_the_same_value(domain: Domain, u: float):
    value = domain.from_unit(u)
    again = domain.from_unit(domain.to_unit(value))
    assert again == value
    assert type(again) is type(value)


@few
@given(floats(), units)
def test_unit_interval_and_back_gives_the_same_float(domain: Float, u: float):
    value = domain.from_unit(u)
    again = domain.from_unit(domain.to_unit(value))
    if domain.step is not None:
        assert again == value
    else:
        width = domain.range[1] - domain.range[0]
        assert again == pytest.approx(value, rel=1e-12, abs=1e-12 * width)


@few
@given(domains, units)
def test_positions_stay_in_the_unit_interval(domain: Domain, u: float):
    assert 0 <= domain.to_unit(domain.from_unit(u)) <= 1


@few
@given(st.one_of(floats(), ints(), discretes), units, units)
def test_a_larger_position_is_never_a_smaller_number(domain: Domain, u: float, v: float):
    low, high = sorted([u, v])
    assert domain.from_unit(low) <= domain.from_unit(high)


@few
@given(st.one_of(ints(), discretes, categoricals, floats()))
def test_a_full_grid_has_every_value_once(domain: Domain):
    if domain.size is None or domain.size > 2000:
        return
    values = domain.grid()
    assert len(values) == domain.size
    assert len(set(map(value_key, values))) == domain.size
    assert all(value in domain for value in values)


@few
@given(domains, st.integers(1, 20))
def test_a_grid_with_points_has_different_values_and_no_more_than_points(
    domain: Domain, points: int
):
    values = domain.grid(points)
    assert 1 <= len(values) <= points
    assert len(set(map(value_key, values))) == len(values)
    assert all(value in domain for value in values)


def test_a_grid_with_points_reaches_both_ends():
    assert Float(range=(0.0, 1.0)).grid(5) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert Int(range=(1, 100)).grid(2) == [1, 100]
    assert Float(range=(1e-4, 1.0), scale="log").grid(5) == pytest.approx(
        [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    )


def test_a_grid_of_one_point_is_the_middle():
    assert Float(range=(0.0, 1.0)).grid(1) == [0.5]


def test_a_grid_over_a_continuum_asks_for_points():
    with pytest.raises(SpaceError, match="'points'"):
        list(Searchspace(lr=Float(range=(0.0, 1.0))).grid())


@pytest.mark.parametrize("low", [0.1, 1 / 3, 1e-13, -0.7])
def test_a_step_starts_at_the_lower_bound_exactly(low: float):
    domain = Float(range=(low, low + 1), step=0.25)
    assert domain.grid()[0] == low
    assert all(value in domain for value in domain.grid())


def test_steps_read_as_a_person_would_write_them():
    assert Float(range=(0.1, 0.5), step=0.1).grid() == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert Float(range=(0.0, 1.0), step=0.3).grid() == [0.0, 0.3, 0.6, 0.9]
    assert Int(range=(2, 9), step=3).grid() == [2, 5, 8]


def test_a_step_as_wide_as_the_range_gives_both_ends():
    assert Float(range=(0.2, 0.3), step=0.1).grid() == [0.2, 0.3]
    assert Int(range=(2, 9), step=7).grid() == [2, 9]


def test_a_step_so_small_that_rounding_could_swallow_it_still_gives_different_values():
    domain = Float(range=(1e-13, 4e-13), step=1e-13)
    assert len(set(domain.grid())) == 4


@pytest.mark.parametrize(
    "domain",
    [
        Int(range=(1, 3)),
        Int(range=(-1, 1)),
        Int(range=(0, 6), step=3),
        Discrete(values=[3, 1, 2]),
        Categorical(values=["a", "b", "c"]),
        Float(range=(0.0, 1.0), step=0.5),
    ],
    ids=str,
)
def test_every_value_is_equally_likely_the_ends_too(domain: Domain):
    counts = Counter(domain.from_unit((i + 0.5) / 3000) for i in range(3000))
    assert set(counts.values()) == {1000}


def test_the_ends_of_a_log_int_get_the_share_that_their_size_asks_for():
    low, high = 1, 64
    domain = Int(range=(low, high), scale="log")
    counts = Counter(domain.from_unit((i + 0.5) / 100_000) for i in range(100_000))
    whole = math.log(high + 0.5) - math.log(low - 0.5)
    for value in (low, 2, high - 1, high):
        share = (math.log(value + 0.5) - math.log(value - 0.5)) / whole
        assert counts[value] / 100_000 == pytest.approx(share, abs=1e-3)


@few
@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_log_int_reaches_both_ends(low: int, width: int):
    domain = Int(range=(low, low + width), scale="log")
    assert (domain.from_unit(0.0), domain.from_unit(1.0)) == (low, low + width)


def test_a_log_scale_gives_every_decade_the_same_share():
    domain = Float(range=(1e-4, 1.0), scale="log")
    decades = Counter(math.floor(math.log10(domain.from_unit((i + 0.5) / 400))) for i in range(400))
    assert decades == {-4: 100, -3: 100, -2: 100, -1: 100}


def test_a_value_outside_the_domain_has_no_position():
    for domain, value in [
        (Int(range=(1, 3)), 4),
        (Int(range=(1, 5), step=2), 2),
        (Float(range=(0.0, 1.0)), 1.1),
        (Float(range=(0.0, 1.0), step=0.5), 0.4),
        (Discrete(values=[1, 2]), 3),
        (Categorical(values=["a"]), "b"),
        (Int(range=(1, 3)), "2"),
        (Float(range=(0.0, 1.0)), None),
    ]:
        with pytest.raises(ValueError, match="is not in"):
            domain.to_unit(value)


def test_true_is_not_one_and_false_is_not_zero():
    assert True not in Int(range=(0, 1))
    assert False not in Float(range=(0.0, 1.0))
    assert True not in Discrete(values=[0, 1])
    assert 1 not in Categorical(values=[True, "x"])
    both = Categorical(values=[1, True, 0, False])
    assert [both.from_unit(both.to_unit(v)) for v in (True, 1, False, 0)] == [True, 1, False, 0]
    assert [type(both.from_unit(both.to_unit(v))) for v in (True, 1)] == [bool, int]
    space = Searchspace(a=both, b=Int(range=(0, 1), when={"a": True}))
    assert {"a": 1} in space
    assert {"a": True, "b": 0} in space
    assert {"a": 1, "b": 0} not in space


class CountingRandom(Random):
    draws = 0

    def random(self) -> float:
        self.draws += 1
        return super().random()


@few
@given(st.dictionaries(st.sampled_from("abcdef"), domains, max_size=6), st.integers(0, 99))
def test_a_sample_takes_one_draw_per_parameter(chosen: dict[str, Domain], seed: int):
    space, rng = Searchspace(**chosen), CountingRandom(seed)
    assert space.sample(rng) in space
    assert rng.draws == len(chosen)


def test_a_parameter_that_is_not_in_use_takes_its_draw_all_the_same():
    space = Searchspace(
        opt=Categorical(values=["sgd", "adam"]),
        momentum=Float(range=(0.0, 1.0), when={"opt": "sgd"}),
        lr=Float(range=(0.0, 1.0)),
    )
    for seed in range(20):
        rng = Random(seed)
        opt, momentum, lr = rng.random(), rng.random(), rng.random()
        params = space.sample(Random(seed))
        assert params["lr"] == lr
        assert params.get("momentum") == (momentum if opt < 0.5 else None)


SAMPLES = """
import json, sys
from random import Random
from dotrain.core.seeding import derive_rng
from dotrain.space import Searchspace
space = Searchspace(
    lr=("DOUBLE", [0.0, 1.0]), units={"type": "int", "range": [1, 512], "scale": "log"},
    act=("CATEGORICAL", ["relu", "tanh", True, None]), width=("DISCRETE", [64, 16, 32]),
    rate={"type": "float", "range": [0, 1], "when": {"act": ["relu", "tanh"]}},
)
rng = derive_rng(int(sys.argv[1]), "optimizer")
print(json.dumps([space.sample(rng) for _ in range(20)]))
"""


def test_samples_are_the_same_in_another_process_whatever_its_hash_seed():
    def samples(seed: int, hash_seed: str) -> Any:
        command = [sys.executable, "-c", SAMPLES, str(seed)]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
        return json.loads(done.stdout)

    first = samples(0, "1")
    assert first == samples(0, "4242")
    assert first != samples(1, "1")


def test_values_as_a_set_are_refused_since_their_order_changes_with_the_process():
    with pytest.raises(UsageError, match=r"'act'.*expected a list"):
        Searchspace(act=("CATEGORICAL", {"relu", "tanh"}))


# Conditions


def chain() -> Searchspace:
    """Written in an order in which no parameter's condition is known before it."""
    return Searchspace(
        nesterov=Categorical(values=[True, False], when={"momentum": [0.5, 0.9]}),
        momentum=Discrete(values=[0, 0.5, 0.9], when={"opt": "sgd"}),
        opt=Categorical(values=["sgd", "adam"]),
    )


def test_a_conditional_parameter_is_there_exactly_if_its_condition_holds():
    space = chain()
    seen = set()
    for seed in range(200):
        params = space.sample(Random(seed))
        assert params in space
        assert ("momentum" in params) == (params["opt"] == "sgd")
        assert ("nesterov" in params) == (params.get("momentum", 0) != 0)
        seen.add(tuple(params))
    assert seen == {("opt",), ("momentum", "opt"), ("nesterov", "momentum", "opt")}


def test_a_sample_lists_its_values_in_the_order_of_the_space():
    assert list(chain().from_unit([0.0, 0.9, 0.0])) == ["nesterov", "momentum", "opt"]


def test_conditions_collapse_the_grid_so_that_each_configuration_comes_once():
    grid = list(chain().grid())
    assert grid == [dict(t) for t in dict.fromkeys(tuple(p.items()) for p in grid)]
    assert len(grid) == chain().size == 1 + 1 + 2 * 2
    assert all(params in chain() for params in grid)


def test_a_grid_counts_true_and_one_as_different_configurations():
    assert len(list(Searchspace(a=Categorical(values=[1, True, "1"])).grid())) == 3


def test_the_last_name_of_a_grid_varies_fastest():
    space = Searchspace(a=Int(range=(1, 2)), b=Categorical(values=["x", "y"]))
    assert [tuple(p.values()) for p in space.grid()] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_the_size_of_a_space():
    assert Searchspace().size == 1
    assert Searchspace(a=Int(range=(1, 5)), b=Discrete(values=[1, 2])).size == 10
    assert Searchspace(a=Int(range=(1, 5)), b=Float(range=(0.0, 1.0))).size is None
    assert Searchspace(a=Float(range=(2.0, 2.0))).size == 1


@few
@given(st.lists(units, min_size=3, max_size=3))
def test_a_conditional_space_goes_to_the_unit_cube_and_back(point: list[float]):
    space = chain()
    params = space.from_unit(point)
    assert space.from_unit(space.to_unit(params)) == params


def test_a_configuration_with_a_missing_or_an_extra_parameter_is_not_in_the_space():
    space = chain()
    assert {"opt": "adam"} in space
    assert {"opt": "adam", "momentum": 0.9} not in space
    assert {"opt": "sgd"} not in space
    assert {"opt": "adam", "more": 1} not in space
    assert {} not in space
    assert ["opt"] not in space


def test_a_name_is_in_a_space_if_there_is_such_a_parameter():
    assert "opt" in chain()
    assert "opr" not in chain()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"a": Int(range=(0, 1), when={"opr": "x"})}, r"'a': when: no parameter 'opr'"),
        (
            {"opt": Categorical(values=["x"]), "a": Int(range=(0, 1), when={"opr": "x"})},
            r"'a': when: no parameter 'opr'; did you mean 'opt'\?",
        ),
        (
            {"b": Int(range=(0, 1)), "a": Int(range=(0, 1), when={"b": 2})},
            r"'a': when: 'b' is never 2",
        ),
        (
            {"b": Int(range=(0, 1)), "a": Int(range=(0, 1), when={"b": [1, True]})},
            r"'a': when: 'b' is never True",
        ),
        ({"a": Int(range=(0, 1), when={"a": 1})}, "'a': when: the conditions go round"),
        (
            {
                "a": Int(range=(0, 1), when={"c": 1}),
                "b": Int(range=(0, 1), when={"a": 1}),
                "c": Int(range=(0, 1), when={"b": 1}),
            },
            "when: the conditions go round",
        ),
        ({"lr": ("INTEGER", [0, 1]), "reporter": ("INTEGER", [0, 1])}, "'reporter': .*reserved"),
    ],
)
def test_a_condition_or_name_that_can_not_be_is_refused(params: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        Searchspace(**params)


def messages(**domains: Domain) -> list[tuple[str, str]]:
    return list(Searchspace.unchecked(domains).problems())


def test_each_circle_of_conditions_is_one_message():
    circle = "when: the conditions go round in a circle"
    one = {n: Int(range=(0, 1), when={o: 1}) for n, o in (("a", "b"), ("b", "a"))}
    behind = {"after": Int(range=(0, 1), when={"a": 1})}
    assert messages(**one, **behind, c=Int(range=(0, 1), when={"c": 7})) == [
        ("a", circle),
        ("c", circle),
    ]


def test_conditions_that_never_hold_together_are_refused_where_they_meet():
    never = [("c", "when: its conditions never hold together")]
    space = {"a": Int(range=(0, 9)), "b": Int(range=(0, 1), when={"a": {"max": 4}})}
    assert messages(**space, c=Int(range=(0, 1), when={"a": {"min": 4}, "b": 1})) == []
    space["c"] = Int(range=(0, 1), when={"a": {"min": 5}, "b": 1})
    assert messages(**space) == never
    assert messages(**space, d=Int(range=(0, 1), when={"c": 1})) == never
    space["a"] = Float(range=(0.0, 9.0))
    assert messages(**space) == never
    assert messages(**{**space, "c": Int(range=(0, 1), when={"a": {"min": 3}, "b": 1})}) == []


@few
@given(st.data())
def test_a_space_is_refused_exactly_if_no_configuration_has_one_of_its_parameters(
    data: st.DataObject,
):
    domains: dict[str, Domain] = {"p0": Int(range=(0, 2))}
    for index in range(1, 5):
        others = data.draw(st.sets(st.sampled_from(sorted(domains)), max_size=3))
        when = {o: data.draw(st.sampled_from([0, 1, [0, 2], {"min": 1}])) for o in sorted(others)}
        domains[f"p{index}"] = Int(range=(0, 2), when=when)
    absent = set(domains).difference(*Searchspace.unchecked(domains).grid())
    assert {name for name, _ in messages(**domains)} <= absent
    assert bool(messages(**domains)) == bool(absent)


CONDITIONED = {
    "rate": Float(range=(0.1, 10.0)),
    "half": Float(range=(0.0, 2.0), step=0.5),
    "n": Int(range=(1, 5)),
    "size": Discrete(values=[16, 32, 64]),
    "opt": Categorical(values=["sgd", 3]),
}


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"rate": {"min": 2}}, lambda p: p["rate"] >= 2),
        ({"rate": {"max": 5}}, lambda p: p["rate"] <= 5),
        ({"rate": {"min": 1, "max": 10}}, lambda p: 1 <= p["rate"] <= 10),
        ({"half": {"min": 0.5, "max": 1.5}}, lambda p: 0.5 <= p["half"] <= 1.5),
        ({"half": [0.5, 2]}, lambda p: p["half"] in (0.5, 2.0)),
        ({"n": {"min": 2, "max": 4}}, lambda p: 2 <= p["n"] <= 4),
        ({"n": [1, 5]}, lambda p: p["n"] in (1, 5)),
        ({"size": {"min": 17}}, lambda p: p["size"] > 16),
        ({"n": {"max": 3}, "opt": "sgd"}, lambda p: p["n"] <= 3 and p["opt"] == "sgd"),
    ],
    ids=lambda given: "" if callable(given) else str(given),
)
def test_a_range_is_a_condition_with_both_ends_included(when: Any, holds: Any):
    space = Searchspace(**CONDITIONED, extra=Int(range=(0, 1), when=when))
    seen = set()
    for seed in range(200):
        params = space.sample(Random(seed))
        assert params in space
        assert ("extra" in params) == holds(params)
        seen.add("extra" in params)
    assert seen == {True, False}
    assert Searchspace(**space.to_data()).domains == space.domains


def test_the_ends_of_a_range_belong_to_it():
    space = Searchspace(
        a=Float(range=(0.0, 1.0)), b=Int(range=(0, 1), when={"a": {"min": 0.5, "max": 0.75}})
    )
    for a, there in ((0.49, False), (0.5, True), (0.75, True), (0.76, False)):
        assert ("b" in space.from_unit([a, 0.0])) == there


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (
            {"rate": [1, 10]},
            r"'rate' is a float and never exactly 1, 10; write a range: {min: 1, max: 10}",
        ),
        (
            {"rate": 1},
            r"'rate' is a float and never exactly 1; write a range: {min: 1} or {max: 1}",
        ),
        ({"rate": None}, "'rate' is never None"),
        ({"rate": {"min": 11}}, r"rate >= 11 never holds; 'rate' is float\[0.1, 10\]"),
        ({"rate": {"min": 10}}, "rate >= 10 never holds"),
        ({"rate": {"max": 0.1}}, "rate <= 0.1 never holds"),
        ({"rate": {"min": 2, "max": 2}}, "2 <= rate <= 2 never holds"),
        ({"half": 0.7}, "'half' is never 0.7"),
        ({"half": {"min": 0.6, "max": 0.9}}, "0.6 <= half <= 0.9 never holds"),
        ({"n": {"max": 0}}, "n <= 0 never holds"),
        ({"n": {"min": 1.2, "max": 1.8}}, "1.2 <= n <= 1.8 never holds"),
        ({"opt": {"min": 1}}, "'opt' is categorical and has no order; write a list of its values"),
        ({"n": {"min": 3, "max": 2}}, "min 3 of 'n' is over max 2; swap them"),
        (
            {"n": {"mni": 3}},
            r"a range such as {min: 2}, {max: 5} or {min: 2, max: 5}, got {'mni': 3}",
        ),
        ({"n": {}}, "a range such as"),
        ({"n": {"min": "2"}}, "expected a number for min of 'n', got '2'"),
        ({"n": {"min": math.nan}}, "expected a number for min of 'n', got nan"),
        ({"n": {"max": True}}, "expected a number for max of 'n', got True"),
    ],
    ids=str,
)
def test_a_condition_that_never_holds_is_refused(when: Any, message: str):
    with pytest.raises(UsageError, match=rf"'extra': .*{message}"):
        Searchspace(**CONDITIONED, extra={"type": "int", "range": [0, 1], "when": when})


def test_a_domain_reads_with_its_step_and_its_conditions():
    whens = [{"C": {"min": 2}}, {"C": {"min": 1, "max": 3}}, {"opt": "sgd", "n": [1, 2]}]
    assert [str(Int(range=(1, 10**7), step=2, when=when)) for when in whens] == [
        "int[1, 10000000] step 2 if C >= 2",
        "int[1, 10000000] step 2 if 1 <= C <= 3",
        "int[1, 10000000] step 2 if opt = sgd and n in [1, 2]",
    ]
    assert str(Float(range=(0.1, 1), scale="log")) == "float[0.1, 1, log]"
    assert str(Float(range=(0.0, 1), step=0.25)) == "float[0, 1] step 0.25"
    assert (
        str(Categorical(values=["a", 1], when={"C": {"max": 5}})) == "categorical[a, 1] if C <= 5"
    )


# The forms a domain is written in


def test_the_decks_pairs_are_the_domains_of_the_yaml_form():
    deck = Searchspace(
        kernel=("INTEGER", [2, 8]),
        dropout=("DOUBLE", [0.01, 0.99]),
        pool=("DISCRETE", [4, 2]),
        act=("CATEGORICAL", ["relu", "tanh"]),
    )
    assert deck.domains == {
        "kernel": Int(range=(2, 8)),
        "dropout": Float(range=(0.01, 0.99)),
        "pool": Discrete(values=(2, 4)),
        "act": Categorical(values=("relu", "tanh")),
    }
    yaml_form = Searchspace(
        kernel={"type": "int", "range": [2, 8]}, dropout=["DOUBLE", [0.01, 0.99]]
    )
    assert yaml_form.domains == {n: deck.domains[n] for n in ("kernel", "dropout")}
    assert deck.names == ("kernel", "dropout", "pool", "act")


@pytest.mark.parametrize("name", ["self", "params", "my-lr", "class"])
def test_any_name_may_be_a_parameter(name: str):
    assert Searchspace(**{name: Int(range=(0, 1))}).names == (name,)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (("INTEGR", [2, 8]), "unknown type 'INTEGR'; did you mean 'INTEGER'"),
        ({"type": "flaot", "range": [0, 1]}, "unknown type 'flaot'; did you mean 'float'"),
        ({"range": [0, 1]}, "expected a domain"),
        (("INTEGER", [2, 8], 3), "expected a domain"),
        (5, "expected a domain"),
        (None, "expected a domain"),
        (("INTEGER", [8, 2]), "lower bound 8 is over upper bound 2"),
        (("INTEGER", [0.5, 2]), "expected whole numbers"),
        (("INTEGER", [False, True]), "expected two numbers"),
        (("INTEGER", [2]), r"expected \[low, high\]"),
        (("INTEGER", [1, 2, 3]), r"expected \[low, high\]"),
        (("INTEGER", 5), ""),
        (("DOUBLE", [0, math.inf]), "expected finite bounds"),
        (("DOUBLE", [math.nan, 1]), "expected finite bounds"),
        (("DOUBLE", [-1.7e308, 1.7e308]), "expected finite bounds"),
        (("INTEGER", [0, 10**400]), "expected finite bounds"),
        (("DOUBLE", ["0", "1"]), "expected two numbers"),
        ({"type": "float", "range": [0.0, 1], "scale": "log"}, "log scale needs a lower bound > 0"),
        ({"type": "int", "range": [0, 9], "scale": "log"}, "log scale needs a lower bound > 0"),
        ({"type": "float", "range": [0, 1], "scale": "ln"}, "expected linear or log"),
        ({"type": "float", "range": [0, 1], "step": 0}, "expected a number > 0, got 0"),
        ({"type": "float", "range": [0, 1], "step": math.nan}, "expected a number > 0"),
        ({"type": "float", "range": [0, 1], "step": True}, "expected a number > 0"),
        ({"type": "float", "range": [0, 1], "step": 2}, "step 2 is wider"),
        ({"type": "float", "range": [1, 2], "step": 0.1, "scale": "log"}, "linear scale only"),
        ({"type": "int", "range": [0, 9], "step": 0.5}, "expected whole numbers"),
        ({"type": "int", "range": [0, 9], "stp": 1}, "stp"),
        ({"type": "int"}, "range"),
        (("DISCRETE", []), "expected a list of values"),
        (("DISCRETE", "abc"), "expected a list of values"),
        (("DISCRETE", 3), "expected a list of values"),
        (("DISCRETE", [1, "a"]), "expected numbers, got 'a'; use categorical"),
        (("DISCRETE", [1, True]), "expected numbers, got True"),
        (("DISCRETE", [1, math.nan]), "expected plain values, got nan"),
        (("DISCRETE", [1, 2, 1]), "1 stands twice"),
        (("DISCRETE", [1, 1.0]), "1.0 stands twice"),
        (("CATEGORICAL", ["a", "a"]), "'a' stands twice"),
        (("CATEGORICAL", [[1, {2}], [3]]), r"expected plain values, got \[1, \{2\}\]"),
        (("CATEGORICAL", [[1, math.nan]]), r"expected plain values, got \[1, nan\]"),
        (("CATEGORICAL", [{"a": 1, "b": 2}, [], {"b": 2, "a": 1}]), "stands twice"),
        (("DISCRETE", [[1], [2]]), r"expected numbers, got \[1\]; use categorical"),
        ({"type": "int", "range": [0, 1], "when": "opt"}, "got 'opt'"),
        ({"type": "int", "range": [0, 1], "when": {"opt": []}}, "at least one value of 'opt'"),
    ],
    ids=str,
)
def test_a_domain_that_can_not_be_is_refused_by_the_name_of_its_parameter(spec: Any, message: str):
    with pytest.raises(UsageError, match=rf"parameter 'bad': .*{message}"):
        Searchspace(fine=("INTEGER", [0, 1]), bad=spec)


class Size(IntEnum):
    SMALL = 16
    LARGE = 32


class Opt(StrEnum):
    SGD = "sgd"
    ADAM = "adam"


class OldOpt(str, Enum):  # noqa: UP042 - as before Python 3.11
    SGD = "sgd"


class Named(Enum):
    SGD = "sgd"


@pytest.mark.parametrize(
    ("given_", "plain"),
    [
        (Size.SMALL, 16),
        (Opt.ADAM, "adam"),
        (OldOpt.SGD, "sgd"),
        (np.float32(0.5), 0.5),
        (np.float64(0.25), 0.25),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array(7), 7),
        ((1, np.int8(2)), [1, 2]),
        ({"a": Size.LARGE}, {"a": 32}),
    ],
    ids=str,
)
def test_a_value_becomes_what_it_stands_for(given_: Any, plain: Any):
    found = plain_value(given_)
    assert found == plain
    assert type(found) is type(plain)
    if not isinstance(plain, list | dict):
        assert type(Categorical(values=[given_]).values[0]) is type(plain)
        assert Categorical(values=[given_]).values == (plain,)


@pytest.mark.parametrize(
    "value",
    [np.array([1, 2]), np.array([1]), {1, 2}, frozenset(), object(), Named.SGD, b"a", 1j, print],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_value_is_refused_where_it_is_given(value: Any):
    with pytest.raises(TypeError, match="is no plain value"):
        plain_value(value)
    with pytest.raises(TypeError, match=r"'x': .* is no plain value"):
        plain_params({"a": 1, "x": value})
    conditional = {"type": "int", "range": [0, 1], "when": {"ok": value}}
    for spec in (("CATEGORICAL", ["a", value]), conditional):
        with pytest.raises(UsageError, match="parameter 'bad': "):
            Searchspace(ok=("INTEGER", [0, 1]), bad=spec)
    with pytest.raises(UsageError, match="parameter 'bad': expected two numbers"):
        Searchspace(bad=("INTEGER", [0, value]))


def test_a_space_is_made_of_arrays_and_enumerations_as_of_their_values():
    space = Searchspace(
        a=("INTEGER", np.array([1, 8])),
        b=("DISCRETE", np.array([32, 16])),
        c=("CATEGORICAL", list(Opt)),
        d=Float(range=(np.float32(0), np.float64(1)), step=np.float32(0.5), when={"c": Opt.SGD}),
        e=Int(range=(Size.SMALL, Size.LARGE), step=np.int64(4), when={"a": {"min": np.int64(2)}}),
        f=Discrete(values=range(1, 3)),
    )
    plain = Searchspace(
        a=Int(range=(1, 8)),
        b=Discrete(values=[16, 32]),
        c=Categorical(values=["sgd", "adam"]),
        d=Float(range=(0.0, 1.0), step=0.5, when={"c": "sgd"}),
        e=Int(range=(16, 32), step=4, when={"a": {"min": 2}}),
        f=Discrete(values=[1, 2]),
    )
    assert space.domains == plain.domains
    assert json.loads(json.dumps(space.to_data())) == json.loads(json.dumps(plain.to_data()))
    assert {type(value) for value in space.sample(Random(0)).values()} <= {int, float, str}


def test_discrete_values_are_sorted_and_categories_are_not():
    assert Discrete(values=[3, 1.5, 2]).grid() == [1.5, 2, 3]
    assert Categorical(values=["b", "a"]).grid() == ["b", "a"]


def test_a_space_is_read_as_a_mapping() -> None:
    space = Searchspace(kernel=("INTEGER", [2, 8]), dropout=("double", [0.1, 0.9]))
    assert [*space] == [*space.keys()] == ["kernel", "dropout"]
    assert len(space) == 2
    assert space["kernel"] == Int(range=(2, 8))
    assert dict(space.items()) == dict(space) == space.domains
    assert [*space.values()] == [Int(range=(2, 8)), Float(range=(0.1, 0.9))]
    with pytest.raises(KeyError):
        space["pool"]


@pytest.mark.parametrize("kind", ["integer", "Integer", "INTEGER"])
def test_the_decks_types_in_any_letters(kind: str) -> None:
    assert Searchspace(x=(kind, [2, 8]))["x"] == Int(range=(2, 8))


def test_a_parameter_that_is_added_is_there_from_then_on() -> None:
    space = Searchspace(kernel=("INTEGER", [2, 8]))
    assert space.size == 7
    assert len([*space.grid()]) == 7
    space.add("pool", ("DISCRETE", [1, 2]))
    assert space.names == ("kernel", "pool")
    assert space.size == 14
    assert {tuple(params) for params in space.grid()} == {("kernel", "pool")}
    space.add("lr", Float(range=(0.1, 1.0), when={"pool": 2}))
    assert space.to_data() == Searchspace(**space.to_data()).to_data()
    assert space.sample(Random(3)) in space


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("kernel", ("INTEGER", [1, 2]), "'kernel': it is there already"),
        ("pool", ("INTEGR", [1, 2]), "'pool': unknown type 'INTEGR'"),
        ("reporter", ("INTEGER", [1, 2]), "'reporter': this name is reserved"),
        ("pool", Int(range=(1, 2), when={"kernels": 2}), "no parameter 'kernels'"),
    ],
)
def test_what_can_not_be_added_changes_nothing(name: str, spec: Any, message: str) -> None:
    space = Searchspace(kernel=("INTEGER", [2, 8]))
    with pytest.raises(UsageError, match=message):
        space.add(name, spec)
    assert space.domains == {"kernel": Int(range=(2, 8))}
    assert space.size == 7
