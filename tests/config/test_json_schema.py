"""The schema for editors refuses what it can, and nothing that would run."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dotrain.config import ConfigError, load_config
from dotrain.config.catalogue import Entry, catalogue
from dotrain.config.json_schema import config_schema
from dotrain.config.source import read_source
from dotrain.plugins import DOTTED
from tests.config.test_validation import CONFIGS, KEYS, MISTAKES, VALUES, fuzz
from tests.conftest import ROOT, Project
from tests.folder import Folder


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(config_schema(catalogue()))


def refuses(file: Path) -> bool:
    """Whether an editor that reads YAML as we do would underline anything."""
    try:
        data = read_source(file).data
    except ConfigError:
        return False  # no YAML mapping: nothing for a schema to look at
    return not validator().is_valid(data)


def test_it_is_a_schema_that_json_can_hold() -> None:
    schema = validator().schema
    Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_config_that_is_shipped_is_accepted(file: Path) -> None:
    validator().validate(yaml.safe_load(file.read_text()))


def test_an_editor_shows_what_each_plugin_is_or_what_is_wrong_with_it() -> None:
    entries = [
        replace(entry, summary="", options=None, error="can't be imported") if n % 2 else entry
        for n, entry in enumerate(catalogue())
    ]
    definitions = config_schema(entries)["$defs"]
    kinds = {"Optimizer": "optimizer", "EarlyStopRule": "early-stop rule", "Ablator": "ablator"}
    for section, kind in {**kinds, "Observer": "observer"}.items():
        choices = definitions[section]["properties"]["name"]["anyOf"]
        shown = {one["const"]: one["description"] for one in choices if "const" in one}
        of_kind = [entry for entry in entries if entry.kind == kind]
        assert shown == {entry.name: entry.summary or entry.error for entry in of_kind}
    choices = definitions["Cluster"]["properties"]["kind"]["anyOf"]
    shown = {one["const"]: one["description"] for one in choices if "const" in one}
    of_kind = [entry for entry in entries if entry.kind == "cluster" and entry.name != DOTTED]
    assert shown == {entry.name: entry.summary or entry.error for entry in of_kind}


@pytest.mark.parametrize("kind", ["local", "inline", "address", "simulated", "a.Class"])
def test_an_editor_says_of_a_key_of_another_kind_what_a_run_says(folder: Folder, kind: str) -> None:
    given = {
        "workers": 1,
        "threads": 1,
        "address": "tcp://a:1",
        "options": {"a": 1},
        "tls": {"ca_file": "a", "cert": "b", "key": "c"},
    }
    for key, value in given.items():
        config = {"train": "t.py:train", "metric": "m", "cluster": {"kind": kind, key: value}}
        told = [
            error.schema["errorMessage"]
            for error in validator().iter_errors(config)
            if "errorMessage" in error.schema
        ]
        file = folder.write("config.yaml", json.dumps(config))
        try:
            load_config(file)
            found = []
        except ConfigError as error:
            foreign = [p for p in error.problems if p.path == ("cluster", key)]
            found = [p.message.partition(", not '")[0] for p in foreign if "only, not" in p.message]
        assert told == found, key


def test_an_editor_says_of_a_key_what_it_is_and_says_it_once() -> None:
    definitions = validator().schema["$defs"]
    for schema in (validator().schema, *definitions.values()):
        for key, part in schema.get("properties", {}).items():
            assert "title" not in part, key
    # What a kind adds stands beside what is said of the key in any kind.
    by_kind = [rule["then"]["properties"] for rule in definitions["Cluster"]["allOf"]]
    assert len(by_kind) > 3
    for keys in by_kind:
        for key, part in keys.items():
            assert not {"description", "default"} & set(part), key


@pytest.mark.parametrize(("values", "is_sound"), [([], False), ([1], True), ([1, 2], True)])
def test_a_condition_lists_one_value_or_more(values: list[int], is_sound: bool) -> None:
    space = {"a": {"type": "int", "range": [1, 4]}}
    space["b"] = {"type": "float", "range": [0, 1], "when": {"a": values}}
    config = {"train": "t.py:train", "metric": "m", "search": {"space": space, "num_trials": 2}}
    assert validator().is_valid(config) == is_sound


#: What a schema can't tell.
BEYOND = {
    # How numbers compare with each other
    *("bounds the wrong way round", "the deck's bounds", "options that don't go together"),
    # Names that other keys of the file define
    *("when without a parameter", "when with an impossible value", "when in a circle"),
    "a list as a condition",
    # What an expression says
    "constraints with mistakes",
    "a constraint that no configuration meets",
    "constraints that no configuration meets together",
    "a constraint that no draw meets",
    "a grid without a point that meets them",
    "fixed and searched",
    # What the file's text was, and what isn't JSON
    *("lost floats in a range", "name with a line end", "endless bound"),
    # What a plugin's own code says
    *("grid over a continuum", "single with a space", "single on two"),
    *("an ablator without arms", "how many workers"),
    "a fixed budget beside an optimizer that gives one",
}


#: How many places an editor underlines, where it isn't one.
UNDERLINED = {
    **dict.fromkeys(("missing keys", "text is no number", "cluster values"), 2),
    **dict.fromkeys(("reserved hparams of a single run", "unknown plugins"), 2),
    **dict.fromkeys(("true is no number", "sections that are values"), 3),
    **dict.fromkeys(("types at the top", "impossible numbers", "everything at once"), 4),
    "plugin options": 5,
    "mistakes in an ablation": 6,
    # What must go together, or what another kind of cluster lacks, is judged besides.
    "unknown key of a section in a section": 3,
    "empty ablation": 4,
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_a_schema_can_tell_is_refused(folder: Folder, name: str) -> None:
    text, _ = MISTAKES[name]
    file = folder.write("config.yaml", text)
    with pytest.raises(ConfigError):
        load_config(file)
    assert refuses(file) == (name not in BEYOND)
    if name not in BEYOND:
        found = list(validator().iter_errors(read_source(file).data))
        assert len(found) == UNDERLINED.get(name, 1), found


#: Places of a sound config, and what can't stand there.
WRONG: list[tuple[str, list[Any]]] = [
    ("train", [None, "", "train", "t.py:", "t.py:a b", ":train", 1]),
    ("model", [None, "load"]),
    ("prepare", [None, "load"]),
    ("data", [None, "load", {"file": "a"}]),
    ("hparams", [None, [], {"seed": 1}, {"reporter": 1}]),
    ("search", [None, [], {}]),
    ("search.space", [None, {}, {"seed": ["INTEGER", [1, 2]]}, {"budget": ["INTEGER", [1, 2]]}]),
    ("search.space.lr", [None, {"type": "float"}, {"range": [1, 2]}, ["REAL", [1, 2]]]),
    ("search.space.lr.range", [[0, 1], [1], [1, 2, 3], ["a", 2]]),
    ("search.space.lr.step", [1, "a"]),
    ("search.space.units.step", [0, -1, "a"]),
    ("search.space.width.values", [[], [1, 1], ["a"], [True]]),
    ("search.space.opt.values", [[], ["a", "a"], [["a"], ["a"]]]),
    ("search.space.momentum.when", [{"opt": []}, {"opt": {}}, {"lr": {"mn": 1}}]),
    ("search.space.extra.when", [{"lr": {"min": "a"}}, {"lr": {"max": None}}, [], "lr"]),
    ("search.space.shift.sigma", [0, -1, "a", None, ...]),
    ("search.space.shift.mu", ["a", None, ...]),
    ("search.space.decay.range", [[1], [1, 2, 3], ["a", 2], 1]),
    ("search.space_constraints", ["units >= width", [1], [None], {}]),
    ("search.space.kernel", [["INTEGER"], ["INTEGER", [1]], ["INTEGER", [1, 2], 3], ["DISCRETE"]]),
    ("search.num_trials", [0, None, "a", 1.5]),
    ("search.optimizer", [None, "asha", {}, {"name": "nobody"}, {"resource_max": 9}]),
    ("search.optimizer.resource_max", [..., None, "a"]),
    ("search.early_stop", [None, {}, {"name": "nobody"}, {"name": "none", "min_trials": 5}]),
    ("ablation", [None, [], {"layers": "a"}]),
    ("ablation.ablator", [None, {}, {"name": "nobody"}, {"name": "loco", "pairs": []}]),
    ("ablation.models.f", ["load", None]),
    (
        "distribution",
        [None, {"strategy": "nobody"}, {"exact": True}, {"strategy": "single", "a": 1}],
    ),
    ("distribution.workers", [0, "a"]),
    ("cluster", [None, {"kind": "nobody"}, {"kind": "address"}, {"address": "a"}, {"tls": None}]),
    ("cluster", [{"kind": "local", "options": {"a": 1}}, {"kind": "inline", "workers": 2}]),
    ("cluster.options", [{"stesp": 1}, {"losing": "a"}, []]),
    ("limits", [None, {"a": 1}]),
    ("journal", [None, {"sync": "always"}, {"sync": True}, {"a": 1}]),
    (
        "observers",
        [None, {}, [{}], ["tensorboard"], [{"name": "nobody"}], [{"name": "tensorboard", "a": 1}]],
    ),
    ("seed", [None, -1, "1"]),
    ("name", [None, "a/b"]),
]
#: The same with what may stand there.
RIGHT: list[tuple[str, list[Any]]] = [
    ("train", ["m:f", "a.b:f", "a b.py:f"]),
    ("data", ["m:f", {"file": "a.csv", "label": "b"}]),
    ("hparams", [{}, {"budget": 1, "seeds": 1}]),
    ("search", [{"space": {"a": ["INTEGER", [1, 2]]}, "optimizer": {"name": "grid"}}]),
    ("search.space.lr.scale", ["linear"]),
    ("search.space.lr.step", [None]),
    ("search.space.units.step", [1, None]),
    ("search.space_constraints", [[], ...]),
    ("search.space.shift.range", [None, [-1, 1]]),
    ("search.space.opt.values", [[["a"], [{}]], [{"a": [1]}, []]]),
    ("search.space.momentum.when", [{"opt": [[]]}]),
    ("search.space.extra.when", [{"lr": {"min": 1}}, {"lr": [1]}, {"lr": 1}, {"lr": None}, {}]),
    ("search.optimizer", [{"name": "RandomSEARCH"}, {"name": "m:C", "a": 1}]),
    ("search.early_stop", [{"name": "median"}, {"name": "none"}, {"name": "m:C", "a": 1}]),
    ("distribution", [{}, {"strategy": "single"}, {"strategy": "m:C", "a": 1}]),
    (
        "cluster",
        [
            {},
            {"workers": 2},
            {"kind": "address", "address": "a"},
            {"kind": "a.B", "options": {"a": 1}},
        ],
    ),
    (
        "cluster",
        [{"kind": "local", "options": {}}, {"kind": "inline", "workers": 1}, {"kind": "m:C"}],
    ),
    ("observers", [[], [{"name": "m:C", "a": 1}]]),
    ("limits", [{}]),
    ("journal", [{}, {"sync": None}, {"sync": "system"}, {"sync": "record"}]),
    ("tensorboard", [True, False]),
]


@pytest.mark.parametrize("is_right", [False, True])
def test_of_a_full_config_each_key_may_be_what_it_may_be(is_right: bool) -> None:
    for place, values in RIGHT if is_right else WRONG:
        for value in values:
            data = copy.deepcopy(FULL)
            *path, last = place.split(".")
            target = data
            for part in path:
                target = target[part]
            target[last] = value
            if value is ...:
                del target[last]
            assert validator().is_valid(data) == is_right, (place, value)


@fuzz
@given(CONFIGS)
def test_whatever_it_refuses_is_refused_when_it_is_loaded(folder: Folder, data: Any) -> None:
    agree(folder, data)


FULL: dict[str, Any] = {
    "name": "full",
    "train": "t.py:train",
    "model": "t.py:load",
    "data": "t.py:load",
    "metric": "m",
    "direction": "min",
    "seed": 1,
    "hparams": {"batch_size": 64},
    "search": {
        "space": {
            "lr": {"type": "float", "range": [1e-4, 1e-1], "scale": "log"},
            "units": {"type": "int", "range": [16, 128], "step": 16},
            "width": {"type": "discrete", "values": [16, 32]},
            "opt": {"type": "categorical", "values": ["sgd", 1, True, None]},
            "momentum": {"type": "float", "range": [0.0, 0.9], "when": {"opt": ["sgd", 1]}},
            "kernel": ["INTEGER", [2, 8]],
            "shift": {"type": "normal", "mu": 0, "sigma": 0.5},
            "decay": {"type": "log_normal", "mu": -7.0, "sigma": 1, "range": [0, 0.1]},
            "extra": {"type": "int", "range": [0, 1], "when": {"lr": {"min": 1e-3, "max": 1.0}}},
        },
        "space_constraints": ["units >= width"],
        "optimizer": {"name": "asha", "resource_max": 9, "reduction_factor": 3},
        "num_trials": 60,
        "early_stop": {"name": "median", "min_trials": 5},
    },
    "ablation": {
        "layers": ["a"],
        "layer_groups": [["b", "c"], {"prefix": "d"}, {"pattern": "e*"}],
        "models": {"f": "t.py:load"},
        "components": {"g": {"h": False}},
        "ablator": {"name": "pairs", "pairs": [["layer:a", "model:f"]]},
        "seeds": 9,
    },
    "distribution": {"strategy": "mirrored", "workers": 2, "exact": False},
    "cluster": {"kind": "simulated", "workers": 2, "options": {"losing": 0.1}},
    "limits": {"trial_timeout_s": 600, "retries": 0, "trial_memory_mb": 2000, "silent_s": 60},
    "journal": {"sync": "trial"},
    "observers": [{"name": "tensorboard"}],
}


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(data, dict | list):
        for key in data if isinstance(data, dict) else range(len(data)):
            yield (*path, key)
            yield from places(data[key], (*path, key))


@fuzz
@given(
    st.lists(
        st.tuples(st.sampled_from(list(places(FULL))), KEYS | st.none(), VALUES | st.just(...)),
        min_size=1,
        max_size=2,
    )
)
def test_a_sound_config_with_something_else_in_it_is_judged_alike(
    folder: Folder, changes: list[tuple[tuple[Any, ...], str | None, Any]]
) -> None:
    data = copy.deepcopy(FULL)
    agree(folder, data)
    for path, key, value in changes:
        target = data
        try:
            for part in path[:-1]:
                target = target[part]
            if value is ...:
                del target[path[-1]]
            else:
                target[key if key and isinstance(target, dict) else path[-1]] = value
        except (KeyError, TypeError, IndexError):
            continue  # an earlier change took the place away
    agree(folder, data)


def agree(folder: Folder, data: Any) -> None:
    file = folder.write("config.yaml", yaml.safe_dump(data, allow_unicode=True))
    try:
        load_config(file)
    except ConfigError:
        return
    assert not refuses(file)


def test_a_config_with_everything_is_accepted(folder: Folder) -> None:
    load_config(folder.write("config.yaml", yaml.safe_dump(FULL)))
    validator().validate(FULL)


@pytest.mark.parametrize(
    ("section", "is_accepted"),
    [
        ({"name": "theirs", "depth": 3}, True),
        ({"name": "theirs", "depth": 0}, False),
        ({"name": "theirs"}, False),
        ({"name": "theirs", "depth": 3, "width": 1}, False),
        ({"name": "their.module:Class", "whatever": 1}, True),
        ({"name": "RandomSearch"}, True),
        ({"name": "RandomSearch", "points": 3}, False),
    ],
)
def test_the_options_of_an_installed_plugin_are_its_keys(
    section: dict[str, Any], is_accepted: bool
) -> None:
    options = {
        "properties": {"depth": {"type": "integer", "minimum": 1}},
        "required": ["depth"],
        "additionalProperties": False,
    }
    theirs = Entry("optimizer", "search.optimizer.name", "theirs", "theirs", options=options)
    schema = Draft202012Validator(config_schema([*catalogue(), theirs]))
    search = {"space": {"a": ["INTEGER", [1, 2]]}, "num_trials": 2, "optimizer": section}
    config = {"train": "t.py:train", "metric": "m", "search": search}
    assert schema.is_valid(config) == is_accepted


def test_a_plugin_of_which_nothing_is_said_needs_no_number_of_trials() -> None:
    theirs = Entry("optimizer", "search.optimizer.name", "theirs", "theirs")
    schema = Draft202012Validator(config_schema([*catalogue(), theirs]))
    for name, is_sound in (("theirs", True), ("grid", True), ("random", False)):
        search = {"space": {"a": ["INTEGER", [1, 2]]}, "optimizer": {"name": name}}
        config = {"train": "t.py:train", "metric": "m", "search": search}
        assert schema.is_valid(config) == is_sound


@pytest.mark.parametrize("left_out", ["asha", "random"])
def test_where_no_optimizer_is_named_the_default_asks_for_a_number_of_trials(left_out: str) -> None:
    schema = Draft202012Validator(
        config_schema([entry for entry in catalogue() if entry.name != left_out])
    )
    search = {"space": {"a": ["INTEGER", [1, 2]]}}
    config = {"train": "t.py:train", "metric": "m", "search": search}
    assert schema.is_valid(config) == (left_out == "random")
    assert schema.is_valid({**config, "search": {**search, "num_trials": 1}})


@pytest.mark.parametrize(
    ("key", "empty", "full"),
    [
        ("layers", [], ["a"]),
        ("layer_groups", [], [["a"]]),
        ("models", {}, {"a": "t.py:train"}),
        ("features", [], ["a"]),
    ],
)
def test_what_is_left_out_of_a_model_needs_one(key: str, empty: Any, full: Any) -> None:
    for value in (empty, full):
        config = {"train": "t.py:train", "metric": "m", "ablation": {key: value}}
        assert validator().is_valid({**config, "model": "t.py:train"})
        assert validator().is_valid(config) == (value is empty or key == "features")


def test_the_command_prints_it_and_nothing_else(project: Project) -> None:
    done = project.cli("schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == validator().schema
