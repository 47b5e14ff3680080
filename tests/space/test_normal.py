"""Normal and log-normal numbers: their prior, the unit interval both ways, and what can't be."""

from __future__ import annotations

import math
from random import Random
from statistics import mean, median, stdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.errors import UsageError
from dotrain.space import Float, Int, LogNormal, Normal, Searchspace, SpaceError

few = settings(max_examples=200, deadline=None)


@st.composite
def bells(draw: st.DrawFn) -> Normal | LogNormal:
    mu, sigma = draw(st.floats(-20, 20)), draw(st.floats(0.01, 5))
    kind = draw(st.sampled_from([Normal, LogNormal]))
    if draw(st.booleans()):
        return kind(mu=mu, sigma=sigma)
    low = mu + sigma * draw(st.floats(-4, 3.5))
    high = low + sigma * draw(st.floats(0.5, 4))
    bounds = (low, high) if kind is Normal else (math.exp(low), math.exp(high))
    return kind(mu=mu, sigma=sigma, range=bounds)


@few
@given(bells(), st.floats(0, 1))
def test_every_value_is_inside_and_goes_back_to_where_it_was(
    domain: Normal | LogNormal, u: float
) -> None:
    value = domain.from_unit(u)
    assert value in domain
    back = domain.to_unit(value)
    assert 0 <= back <= 1
    assert back == pytest.approx(u, abs=1e-6)


@few
@given(bells(), st.floats(0.001, 0.999))
def test_the_unit_interval_and_back_gives_the_same_number(
    domain: Normal | LogNormal, u: float
) -> None:
    value = domain.from_unit(u)
    assert domain.from_unit(domain.to_unit(value)) == pytest.approx(value, rel=1e-6, abs=1e-6)


@few
@given(bells(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_position_is_never_a_smaller_number(
    domain: Normal | LogNormal, u: float, v: float
) -> None:
    low, high = domain.from_unit(min(u, v)), domain.from_unit(max(u, v))
    assert low <= high + 1e-9 * abs(high)


@few
@given(bells(), st.integers(1, 30))
def test_a_grid_has_the_middles_of_equally_likely_parts(
    domain: Normal | LogNormal, points: int
) -> None:
    values = domain.grid(points)
    assert len(values) == points
    assert values == sorted(values)
    if domain.range is None:
        middle = domain.mu if isinstance(domain, Normal) else math.exp(domain.mu)
        assert domain.grid(1) == [pytest.approx(middle)]


def test_draws_are_distributed_as_it_says() -> None:
    rng = Random(0)
    drawn = [Normal(mu=3, sigma=2).sample(rng) for _ in range(20_000)]
    assert mean(drawn) == pytest.approx(3, abs=0.05)
    assert stdev(drawn) == pytest.approx(2, abs=0.05)
    drawn = [LogNormal(mu=math.log(1e-3), sigma=1).sample(rng) for _ in range(20_000)]
    assert median(drawn) == pytest.approx(1e-3, rel=0.05)
    assert stdev(map(math.log, drawn)) == pytest.approx(1, abs=0.05)
    drawn = [Normal(mu=0, sigma=1, range=(0, 10)).sample(rng) for _ in range(20_000)]
    assert min(drawn) >= 0
    assert mean(drawn) == pytest.approx(math.sqrt(2 / math.pi), abs=0.02)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"mu": 0, "sigma": 0}, "expected a number > 0, got 0"),
        ({"mu": math.inf, "sigma": 1}, "expected a finite number, got inf"),
        ({"mu": "a", "sigma": 1}, "expected a finite number, got 'a'"),
        ({"mu": True, "sigma": 1}, "expected a finite number, got True"),
        ({"mu": 0, "sigma": 1, "range": [1]}, r"expected \[low, high\], two numbers, got \[1\]"),
        ({"mu": 0, "sigma": 1, "range": 3}, r"expected \[low, high\], two numbers, got 3"),
        ({"mu": 0, "sigma": 1, "range": [0, math.inf]}, "expected finite bounds"),
        ({"mu": 0, "sigma": 1, "range": [1, 1]}, "lower bound 1 is not under upper bound 1"),
        ({"mu": 0, "sigma": 1, "range": [7, 9]}, "less than one in a million of what mu 0"),
        ({"mu": 0, "sigma": 1e300}, "larger than a float can be"),
    ],
)
def test_what_can_not_be_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Normal(**spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"mu": 1e3, "sigma": 1}, "those of the logarithm"),
        ({"mu": 0, "sigma": 100}, "those of the logarithm"),
        ({"mu": 0, "sigma": 1, "range": [-1, 1]}, "log_normal has no number below 0, got -1"),
    ],
)
def test_what_a_log_normal_can_not_be_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        LogNormal(**spec)


def test_it_reads_so_that_a_mistaken_mean_is_seen() -> None:
    assert str(Normal(mu=0, sigma=1)) == "normal[mu 0, sigma 1]"
    assert str(Normal(mu=0, sigma=1, range=(-2, 2))) == "normal[mu 0, sigma 1] in [-2, 2]"
    assert str(LogNormal(mu=-6.9, sigma=1)) == (
        "log_normal[mu -6.9, sigma 1: median 0.00101, 95 % from 0.000142 to 0.00715]"
    )
    space = Searchspace(x={"type": "normal", "mu": 1, "sigma": 2})
    assert space.to_data() == {"x": {"type": "normal", "mu": 1, "sigma": 2}}


def test_conditions_go_by_ranges() -> None:
    on_x = Int(range=(0, 1), when={"x": {"min": 1}})
    space = Searchspace(x=Normal(mu=0, sigma=1), a=on_x)
    assert space.size is None
    rng = Random(1)
    for _ in range(100):
        params = space.sample(rng)
        assert ("a" in params) == (params["x"] >= 1)
        assert params in space
    for bound in ({"min": 3}, {"max": -3}):
        Searchspace(x=Normal(mu=0, sigma=1), a=Int(range=(0, 1), when={"x": bound}))
    with pytest.raises(UsageError, match="'x' is a normal and never exactly 1; write a range"):
        Searchspace(x=Normal(mu=0, sigma=1), a=Int(range=(0, 1), when={"x": 1}))
    with pytest.raises(UsageError, match="x <= -1 never holds"):
        Searchspace(x=LogNormal(mu=0, sigma=1), a=Int(range=(0, 1), when={"x": {"max": -1}}))
    with pytest.raises(UsageError, match="never hold together"):
        Searchspace(
            x=Normal(mu=0, sigma=1),
            a=Int(range=(0, 1), when={"x": {"min": 1}}),
            b=Int(range=(0, 1), when={"x": {"max": -1}, "a": 1}),
        )


def test_a_model_sees_it_on_the_unit_interval() -> None:
    from optuna.samplers import RandomSampler

    from dotrain.samplers.optuna_study import ask, quiet

    space = Searchspace(x=Normal(mu=5, sigma=2), y=LogNormal(mu=0, sigma=1), z=Float(range=(0, 1)))
    with quiet():
        drawn = [ask(RandomSampler(seed=seed), space, []) for seed in range(300)]
    assert all(one in space for one in drawn)
    assert mean(one["x"] for one in drawn) == pytest.approx(5, abs=0.5)
    assert stdev(one["x"] for one in drawn) == pytest.approx(2, abs=0.3)
