"""What the explore step of PBT makes of a configuration."""

from __future__ import annotations

import math
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from dotrain.optimizers.perturbing import perturbed
from dotrain.space import (
    Categorical,
    Constraint,
    Discrete,
    Domain,
    Float,
    Int,
    LogNormal,
    Normal,
    Params,
    Searchspace,
)

FACTORS = (0.8, 1.2)

_numbers = st.integers(-50, 50)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[float, float]:
    low, high = sorted(draw(st.tuples(_numbers, _numbers)))
    return float(low), float(high)


@st.composite
def domains(draw: st.DrawFn) -> Domain:
    kind = draw(
        st.sampled_from(["float", "log", "step", "int", "int log", "list", "bell", "one of"])
    )
    low, high = draw(ranges())
    if kind == "float":
        return Float(range=(low, high))
    if kind == "log":
        return Float(range=(10.0**-6, 10.0 ** draw(st.integers(-5, 3))), scale="log")
    if kind == "step":
        assume(high - low >= 1)
        return Float(range=(low, high), step=draw(st.sampled_from([0.1, 0.25, 1.0])))
    if kind == "int":
        return Int(range=(int(low), int(high)))
    if kind == "int log":
        return Int(range=(1, draw(st.integers(1, 10**6))), scale="log")
    if kind == "list":
        values = draw(st.lists(_numbers, min_size=1, max_size=6, unique=True))
        return Discrete(values=values)
    if kind == "bell":
        normal = Normal(mu=low, sigma=2.0)
        return draw(st.sampled_from([normal, LogNormal(mu=-3, sigma=1.0, range=(0.01, 0.5))]))
    return Categorical(values=["a", True, 1, [2, 3]])


def near(space: Searchspace, params: Params, seed: int, resample: float = 0.0) -> Params:
    return perturbed(space, params, Random(seed), FACTORS, resample)


@given(domains(), st.integers(0, 1000), st.sampled_from([0.0, 0.3, 1.0]))
def test_it_stays_in_the_space(domain: Domain, seed: int, resample: float) -> None:
    space = Searchspace(
        x=domain, y=Int(range=(0, 1)), z=Float(range=(0, 1), step=0.5, when={"y": 1})
    )
    params = space.sample(Random(seed))
    for _ in range(5):
        params = near(space, params, seed, resample)
        assert params in space


@given(domains(), st.integers(0, 1000))
def test_whatever_has_another_value_moves_and_a_categorical_one_stays(
    domain: Domain, seed: int
) -> None:
    space = Searchspace(x=domain)
    before = space.sample(Random(seed))
    after = near(space, before, seed + 1)
    if isinstance(domain, Categorical) or domain.size == 1:
        assert after == before
    else:
        assert after != before


@given(st.floats(1e-6, 1.0), st.integers(0, 1000))
def test_a_number_is_multiplied_where_there_is_room(value: float, seed: int) -> None:
    space = Searchspace(lr=Float(range=(1e-9, 1e3), scale="log"))
    (found,) = near(space, {"lr": value}, seed).values()
    assert any(math.isclose(found, value * factor) for factor in FACTORS)


@given(st.integers(1, 1000), st.integers(0, 1000))
def test_a_whole_number_moves_by_one_at_least(value: int, seed: int) -> None:
    (found,) = near(Searchspace(n=Int(range=(0, 2000))), {"n": value}, seed).values()
    assert isinstance(found, int)
    nearest = {max(value + 1, round(value * 1.2)), min(value - 1, round(value * 0.8))}
    assert found in nearest


@given(st.integers(0, 4), st.integers(0, 1000))
def test_one_of_a_list_goes_to_a_neighbour(index: int, seed: int) -> None:
    values = [-3, 0, 16, 32, 1000]
    (found,) = near(Searchspace(n=Discrete(values=values)), {"n": values[index]}, seed).values()
    assert abs(values.index(found) - index) == 1


def test_what_a_factor_leaves_where_it_is_moves_by_a_part_of_its_range() -> None:
    space = Searchspace(x=Float(range=(-1, 1)), edge=Float(range=(0, 0.5)))
    found = [near(space, {"x": 0.0, "edge": 0.5}, seed) for seed in range(20)]
    assert {round(one["x"], 9) for one in found} == {-0.4, 0.4}
    assert {one["edge"] for one in found} == {0.4}


def test_all_is_drawn_anew_where_that_is_certain_and_the_share_is_kept() -> None:
    space = Searchspace(x=Float(range=(0, 1)), kind=Categorical(values=list("abcdefgh")))
    params: Params = {"x": 0.5, "kind": "a"}
    anew = [near(space, params, seed, 0.25) for seed in range(2000)]
    of_x = sum(round(one["x"], 9) not in (0.4, 0.6) for one in anew)
    of_kind = sum(one["kind"] != "a" for one in anew)
    assert 400 < of_x < 600
    assert 350 < of_kind < 530


def test_what_comes_into_use_is_drawn_and_what_goes_out_of_use_is_left_out() -> None:
    space = Searchspace(
        layers=Int(range=(1, 2)),
        second=Categorical(values=["a", "b"], when={"layers": 2}),
        only=Int(range=(5, 9), when={"layers": 1}),
    )
    found = [near(space, {"layers": 1, "only": 7}, seed) for seed in range(20)]
    assert {tuple(one) for one in found} == {("layers", "second")}
    assert {one["second"] for one in found} == {"a", "b"}
    assert set(near(space, {"layers": 2, "second": "a"}, 0)) == {"layers", "only"}


@given(st.integers(0, 1000))
def test_constraints_are_met(seed: int) -> None:
    domains = {"a": Int(range=(1, 6)), "b": Int(range=(1, 6)), "x": Float(range=(0, 1))}
    texts = ["a * b == 12", "x <= 0.5"]
    space = Searchspace(**domains).constrained([Constraint(text, domains) for text in texts])
    params = space.sample(Random(seed))
    for _ in range(5):
        params = near(space, params, seed, 0.1)
        assert params in space


def test_where_no_neighbour_meets_the_constraints_it_stays_as_it_is() -> None:
    domains = {"a": Int(range=(1, 9)), "b": Int(range=(1, 9))}
    space = Searchspace(**domains).constrained([Constraint("a == 1 and b == 1", domains)])
    assert near(space, {"a": 1, "b": 1}, 0) == {"a": 1, "b": 1}
