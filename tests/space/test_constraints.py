"""What must hold between hyperparameters: read, refused, counted, and met by whatever is drawn."""

from __future__ import annotations

import pickle
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core.untried import Untried
from dotrain.space import (
    Categorical,
    Configurations,
    Constraint,
    Discrete,
    Domain,
    Float,
    Int,
    Searchspace,
    SpaceError,
)

few = settings(max_examples=150, deadline=None)

DOMAINS: dict[str, Domain] = {
    "a": Int(range=(1, 8)),
    "b": Int(range=(0, 8)),
    "x": Float(range=(-1.0, 1.0)),
    "opt": Categorical(values=["sgd", "adam"]),
    "bias": Categorical(values=[True, False]),
    "depth": Categorical(values=[None, 2, 3]),
    "layers": Categorical(values=[[64, 64], [128], {"units": 3}]),
    "momentum": Float(range=(0.0, 1.0), when={"opt": "sgd"}),
}
FIXED = {"batch_size": 32, "name": "net"}


def holds(text: str, **params: Any) -> bool:
    return Constraint(text, DOMAINS, FIXED).holds(params)


@pytest.mark.parametrize(
    ("text", "params", "expected"),
    [
        ("a * b <= 64", {"a": 8, "b": 8}, True),
        ("a * b <= 63", {"a": 8, "b": 8}, False),
        ("1 <= a < b <= 8", {"a": 3, "b": 4}, True),
        ("1 <= a < b <= 8", {"a": 4, "b": 4}, False),
        ("a + 1 == b or a - 1 == b", {"a": 3, "b": 2}, True),
        ("not (a == b)", {"a": 3, "b": 3}, False),
        ("a % 2 == 0 and a // 2 == b", {"a": 6, "b": 3}, True),
        ("a ** 2 <= 2 ** b", {"a": 4, "b": 4}, True),
        ("-x < abs(x)", {"x": 0.5}, True),
        ("max(a, b, 3) - min(a, b) <= 2", {"a": 1, "b": 2}, True),
        ("a * batch_size <= 64", {"a": 3}, False),
        ('opt == "sgd"', {"opt": "sgd"}, True),
        ('opt != "sgd" or a <= 2', {"opt": "sgd", "a": 3}, False),
        ('opt in ["sgd"]', {"opt": "adam"}, False),
        ("a not in (1, 3)", {"a": 2}, True),
        ("bias or a > 2", {"bias": False, "a": 2}, False),
        ("bias == True", {"bias": True}, True),
        ("depth == None or depth * 2 <= 4", {"depth": None}, True),
        ("depth == None or depth * 2 <= 4", {"depth": 3}, False),
        ("layers == [64, 64]", {"layers": [64, 64]}, True),
        ("layers in [[128], [64, 64]]", {"layers": {"units": 3}}, False),
        # What can't be worked out isn't met
        ("a / b <= 100", {"a": 1, "b": 0}, False),
        ("depth <= 100", {"depth": None}, False),
        ("not (depth > 100)", {"depth": None}, False),
        ("x ** 0.5 <= 100", {"x": -1.0}, False),
        ("10.0 ** (a * 100) > 0", {"a": 8}, False),
        # Nothing is said of a trial that lacks a name
        ("momentum >= 5", {"opt": "adam"}, True),
        ("momentum < a", {"opt": "adam", "a": 1}, True),
    ],
)
def test_an_expression_means_what_python_means(
    text: str, params: dict[str, Any], expected: bool
) -> None:
    assert holds(text, **params) is expected
    assert pickle.loads(pickle.dumps(Constraint(text, DOMAINS, FIXED))).holds(params) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a * c <= 3", "there is no hyperparameter 'c'; known"),
        ("layrs == [128]", "there is no hyperparameter 'layrs'; did you mean 'layers'?"),
        ("opt == sgd", "there is no hyperparameter 'sgd'; known: .*; text stands in quotes"),
        ("bias == true", "did you mean 'True'?"),
        ("a * b", "expected a comparison, such as a <= b; 'a \\* b' is a number"),
        ("a = 3", "can't be read at its character 3: invalid syntax; == compares"),
        ("a <=", "can't be read: invalid syntax"),
        ("a <= 3 && b > 2", "can't be read at its character 9: invalid syntax; write and"),
        ("", "can't be read"),
        ("a <= b\0", "can't be read"),
        ("batch_size <= 64", "it names nothing that is searched"),
        ("3 < 4", "it names nothing that is searched"),
        ("opt * 2 <= 3", r"\* takes numbers; 'opt' is text"),
        ("opt < 3", "< takes numbers; 'opt' is text"),
        ("abs(layers) < 3", "abs takes numbers; 'layers' is a list or a mapping"),
        ("a and bias", "and takes what is true or false; 'a' is a number"),
        ("not a", "not takes what is true or false"),
        ('opt == "sdg"', "'opt' is never 'sdg'; did you mean 'sgd'?"),
        ('opt in ["adam", "sdg"]', "'opt' is never 'sdg'"),
        ('a == "3"', "they are never equal"),
        ("a in 3", "expected a list of values behind 'in'"),
        ("a in []", "expected a list of values behind 'in'"),
        ("a in [b]", "expected text and numbers in a list, got b"),
        ("a is 3", "write == or !="),
        ("min(a) < 3", "min takes 2 numbers or more"),
        ("abs(a, b) < 3", "abs takes one number"),
        ("round(a) < 3", "there is no function 'round'; known: abs, max, min"),
        ("a.real < 3", "'a.real' has no place in it"),
        ("__import__('os').system('true') == 0", "has no place in it"),
        ("(lambda: a)() < 3", "has no place in it"),
        ("layers[0] < 3", "has no place in it"),
        ("[y for y in (1, 2)] == a", "has no place in it"),
        ("(a := 3) < b", "has no place in it"),
        ("a if bias else b", "has no place in it"),
        ("a & b", "has no place in it"),
        ("a <= 1e999", "expected text or a finite number"),
        ("a <= 3j", "expected text or a finite number"),
        ("a <= " + "1 + " * 400 + "1", "longer than 1000 characters"),
    ],
)
def test_what_is_no_constraint_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Constraint(text, DOMAINS, FIXED)


@pytest.mark.parametrize("text", ["-" * 990 + "a < 3", "(" * 900 + "a", "not " * 240 + "bias"])
def test_however_deep_it_is_it_is_read_or_refused(text: str) -> None:
    try:
        found = Constraint(text, DOMAINS)
    except SpaceError:
        return
    assert found.holds({"a": 1, "bias": True}) in (True, False)


def test_a_power_takes_no_time() -> None:
    assert not holds("9 ** 9 ** 9 ** 9 ** a < 3", a=8)
    assert holds("2 ** (a * 100) > 3", a=8)


names = st.sampled_from("abcd")
numbers = st.integers(-3, 9)


@st.composite
def spaces(draw: st.DrawFn) -> tuple[dict[str, Domain], list[str]]:
    """A finite space with conditions, and constraints about it."""
    domains: dict[str, Domain] = {}
    for name in "abcd":
        when = {}
        if domains and draw(st.booleans()):
            other = draw(st.sampled_from(sorted(domains)))
            when = {other: draw(st.sampled_from(domains[other].grid()))}
        low, width = draw(st.integers(0, 3)), draw(st.integers(0, 4))
        kind = draw(st.sampled_from(["int", "choice", "list"]))
        if kind == "int":
            domains[name] = Int(range=(low, low + width), when=when)
        elif kind == "choice":
            domains[name] = Categorical(values=[*range(low, low + width + 1), None], when=when)
        else:
            domains[name] = Discrete(values=[low, low + width + 1], when=when)
    term = st.one_of(names, numbers.map(str), st.tuples(names, names).map(" * ".join))
    sign = st.sampled_from(["<=", ">=", "==", "!=", "<"])
    text = st.tuples(term, sign, names).map(" ".join)
    return domains, draw(st.lists(text.filter(partial(is_read, domains)), min_size=1, max_size=3))


def is_read(domains: dict[str, Domain], text: str) -> bool:
    try:
        Constraint(text, domains)
    except SpaceError:
        return False
    return True


def constrained(domains: dict[str, Domain], texts: list[str]) -> Searchspace:
    return Searchspace(**domains).constrained([Constraint(text, domains) for text in texts])


@few
@given(spaces(), st.integers(0, 9))
def test_a_finite_space_has_exactly_what_meets_its_constraints(
    given_: tuple[dict[str, Domain], list[str]], seed: int
) -> None:
    domains, texts = given_
    space = constrained(domains, texts)
    everything = list(Searchspace(**domains).grid())
    met = [params for params in everything if not space.unmet(params)]
    assert list(space.grid()) == met
    assert space.size == len(met)
    assert space.share == (len(met), len(everything), True)
    found = space.configurations()
    listed = [repr(sorted(found.at(i).items())) for i in range(len(met))]
    assert sorted(listed) == sorted(repr(sorted(params.items())) for params in met)
    assert all((params in space) == (params in met) for params in everything)
    if not met:
        return
    rng = Random(seed)
    assert all(space.sample(rng) in met for _ in range(20))
    untried, tried = Untried(space), []
    while (params := untried.draw(lambda: space.sample(rng), rng)) is not None:
        tried.append(params)
    assert len(tried) == len(met)
    assert all(params in met for params in tried)


@few
@given(spaces(), st.integers(1, 4))
def test_a_grid_leaves_out_what_does_not_meet_them(
    given_: tuple[dict[str, Domain], list[str]], points: int
) -> None:
    domains, texts = given_
    space = constrained(domains, texts)
    everything = Configurations(domains, points)
    assert list(space.grid(points)) == [one for one in everything if not space.unmet(one)]
    assert space.configurations(points).size == len(list(space.grid(points)))


def test_what_no_constraint_names_is_counted_and_not_gone_through() -> None:
    domains = {**{f"p{i}": Int(range=(1, 1000)) for i in range(9)}, **DOMAINS}
    del domains["x"], domains["momentum"]
    space = constrained(domains, ["a <= b"])
    assert space.size == 1000**9 * sum(b for b in range(1, 9)) * 2 * 2 * 3 * 3
    assert space.configurations().at(space.size - 1) in space


def test_of_too_many_combinations_drawing_goes_on_and_none_is_tried_twice() -> None:
    domains: dict[str, Domain] = {name: Int(range=(1, 1000)) for name in "ab"}
    space = constrained(domains, ["a == b"])
    assert space.is_finite
    assert space.size is None
    with pytest.raises(SpaceError, match=r"hold a, b together, which have 1,000,000 combinations"):
        space.configurations()
    rng, untried = Random(0), Untried(space)
    tried = [untried.draw(lambda: space.sample(rng), rng) for _ in range(50)]
    assert all(params is not None and params["a"] == params["b"] for params in tried)
    assert len({params["a"] for params in tried if params}) == 50


def test_the_share_of_a_continuum_is_measured() -> None:
    domains: dict[str, Domain] = {name: Float(range=(0.0, 1.0)) for name in "ab"}
    share = constrained(domains, ["a <= b"]).share
    assert not share.is_exact
    assert share.met / share.of == pytest.approx(0.5, abs=0.05)
    assert str(share).endswith(" random draws")
    never = constrained(domains, ["a + b > 2"]).share
    assert (never.met, never.problem) == (0, "none of 10,000 random draws meets")
    assert constrained(domains, ["a == b"]).share.problem
    seldom = constrained(domains, ["a + b < 0.02"]).share
    assert seldom.problem == f"only {seldom.met} of 10,000 random draws meet"
