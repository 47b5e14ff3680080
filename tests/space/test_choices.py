"""Choices that are lists or mappings: a trial's own, tried once, and shown as people write them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotrain.core.untried import Untried
from dotrain.report.table import read_table
from dotrain.samplers import make_sampler
from dotrain.space import Categorical, Searchspace, plain_value, value_key
from dotrain.space.values import same_value
from dotrain.store import read_journal
from tests.conftest import Project

LAYERS: list[Any] = [[64, 64], [128], {"units": 32, "dropout": 0.1}, "none"]
SPACE = {
    "layers": {"type": "categorical", "values": LAYERS},
    "skip": {"type": "categorical", "values": [True, False], "when": {"layers": [[64, 64]]}},
}
TRAIN = """
def train(layers, skip=None):
    text = str(layers)
    if isinstance(layers, list):
        layers.append("mine alone")
    if isinstance(layers, dict):
        layers.clear()
    return float(len(text))
"""

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([1.0, 0.5])
    | st.text(max_size=1),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=1), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(plain, plain)
def test_values_are_the_same_exactly_if_their_keys_are(a: Any, b: Any) -> None:
    assert same_value(a, b) == (value_key(a) == value_key(b))
    assert same_value(a, plain_value(a))
    assert same_value(a, json.loads(json.dumps(a)))


def test_true_is_not_one_inside_of_a_list_either() -> None:
    domain = Categorical(values=[[True], [1], {"a": 0}, {"a": False}])
    assert [domain.to_unit(value) for value in ([True], [1], {"a": 0}, {"a": False})] == [
        *(0.125, 0.375, 0.625, 0.875)
    ]


def test_tuples_are_lists() -> None:
    domain = Categorical(values=[(64, 64), (128,)])
    assert domain.values == ([64, 64], [128])
    assert (64, 64) in domain
    assert domain.to_unit((128,)) == 0.75


def test_what_a_trial_does_to_its_value_changes_no_other_one() -> None:
    space = Searchspace(layers=Categorical(values=[[64, 64], {"a": [1]}]))
    for u in (0.0, 0.9):
        before = space.from_unit([u])
        value = space.from_unit([u])["layers"]
        value.clear()
        assert space.from_unit([u]) == before


def test_each_configuration_is_tried_once() -> None:
    space = Searchspace(**SPACE)
    assert space.size == 5
    untried, rng = Untried(space), Random(0)
    untried.note({"layers": {"dropout": 0.1, "units": 32}})
    found = [untried.draw(lambda: space.sample(rng), rng) for _ in range(5)]
    assert found.pop() is None
    assert {"layers": {"units": 32, "dropout": 0.1}} not in found
    assert len({json.dumps(one) for one in found}) == 4


def test_a_domain_reads_as_people_write_it() -> None:
    domains = Searchspace(**SPACE).domains
    assert str(domains["layers"]) == (
        "categorical[[64, 64], [128], {units: 32, dropout: 0.1}, none]"
    )
    assert str(domains["skip"]) == "categorical[True, False] if layers = [64, 64]"


@pytest.mark.parametrize("optimizer", ["random", "grid", "tpe"])
def test_a_run_tries_each_of_them_and_shows_it_everywhere(project: Project, optimizer: str) -> None:
    if optimizer == "tpe":
        make_sampler("tpe").check(Searchspace(**SPACE), 5)
    search = {"space": SPACE, "num_trials": 5, "optimizer": {"name": optimizer}}
    result = project.run(TRAIN, search=search, cluster={"kind": "inline"})
    assert result.status == "finished"
    launches = [r for r in read_journal(result.run_dir / "journal.jsonl") if r["type"] == "Launch"]
    tried = [launch["params"] for launch in launches]
    assert sorted(map(str, tried)) == sorted(map(str, Searchspace(**SPACE).grid()))
    rows = read_table(result.run_dir).rows
    assert [row["layers"] for row in rows] == [one["layers"] for one in tried]
    assert result.best is not None
    assert result.best["params"] == {"layers": LAYERS[2]}
    shown = project.cli("show", str(result.run_dir)).stdout
    assert "[64, 64]" in shown
    assert "{units: 32, dropout: 0.1}" in shown
    table = list(
        csv.DictReader(project.cli("show", str(result.run_dir), "--csv").stdout.split("\n"))
    )
    assert [json.loads(row["layers"]) for row in table if row["layers"][0] in "[{"] == [
        one["layers"] for one in tried if one["layers"] != "none"
    ]
    page = Path(project.cli("report", str(result.run_dir)).stdout.strip()).read_text()
    assert "{units: 32, dropout: 0.1}" in page
