"""`metrics:` of a config: what it means, and what doesn't go with it, each at its place."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dotrain import Searchspace, experiment
from dotrain.config import ConfigError, load_config
from dotrain.config.load import Mode
from dotrain.config.plan import make_plan
from dotrain.errors import UsageError
from dotrain.report.result import print_plan
from tests.folder import Folder

SOUND = """\
train: t.py:train
metrics:
  accuracy: max
  latency_ms: min
search:
  space:
    x: {type: float, range: [0.0, 1.0]}
  optimizer: {name: tpe}
  num_trials: 30
cluster: {kind: inline}
"""


def told(folder: Folder, text: str, mode: Mode = "run") -> list[str]:
    file = folder.write("config.yaml", text)
    try:
        loaded = load_config(file, mode=mode)
    except ConfigError as error:
        return [str(problem).replace(str(file), "config.yaml") for problem in error.problems]
    return [str(warning).replace(str(file), "config.yaml") for warning in loaded.warnings]


def test_the_first_is_the_main_one(folder: Folder) -> None:
    loaded = load_config(folder.write("config.yaml", SOUND))
    settings = loaded.settings
    assert (settings.metric, settings.direction) == ("accuracy", "max")
    assert list(settings.metrics.items()) == [("accuracy", "max"), ("latency_ms", "min")]
    # What is kept of it is what was written: it is read again.
    assert "metric" not in loaded.data
    assert make_plan(loaded)["metrics"] == {"accuracy": "max", "latency_ms": "min"}
    assert not loaded.warnings
    assert not loaded.notes


def test_so_is_its_direction(folder: Folder) -> None:
    text = SOUND.replace("  accuracy: max\n", "").replace("min\n", "min\n  accuracy: max\n", 1)
    loaded = load_config(folder.write("config.yaml", text))
    assert (loaded.settings.metric, loaded.settings.direction) == ("latency_ms", "min")
    assert loaded.optimizer.direction == "min"
    assert loaded.optimizer.metrics == {"latency_ms": "min", "accuracy": "max"}


def test_the_plan_names_all(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    print_plan(make_plan(load_config(folder.write("config.yaml", SOUND))))
    assert "search, max accuracy, min latency_ms" in capsys.readouterr().out


MISTAKES: list[tuple[str, str, str]] = [
    ("metrics:\n", "metric: accuracy\nmetrics:\n", "2:1: metric: stands beside metrics, which"),
    ("metrics:\n", "direction: max\nmetrics:\n", "2:1: direction: stands beside metrics, which"),
    ("  latency_ms: min\n", "", "2:1: metrics: expected two or more; of one alone write metric: accuracy and direction: max"),
    ("metrics:\n  accuracy: max\n  latency_ms: min\n", "metrics: {}\n", "2:1: metrics: expected two or more"),
    ("metrics:\n  accuracy: max\n  latency_ms: min\n", "metrics:\n", "2:9: metrics: must not be empty"),
    ("metrics:\n  accuracy: max\n  latency_ms: min\n", "metrics: [a, b]\n", "2:10: metrics: expected a mapping, got ['a', 'b']"),
    ("metrics:\n  accuracy: max\n  latency_ms: min\n", "metrics: accuracy\n", "2:10: metrics: expected a mapping, got 'accuracy'"),
    ("metrics:\n  accuracy: max\n  latency_ms: min\n", "", "1:1: metric: required key is missing"),
    ("latency_ms: min", "latency_ms: minimize", "4:15: metrics.latency_ms: expected 'max' or 'min', got 'minimize'"),
    ("latency_ms: min", '"": min', "4:3: metrics.: expected a name"),
    ("name: tpe", "name: gp", "8:14: search.optimizer: GP compares trials by one metric; of several use grid, qmc, random, tpe, or write metric and direction"),
    ("name: tpe", "name: cmaes", "8:14: search.optimizer: CMAES compares trials by one metric"),
    ("name: tpe", "name: asha, resource_max: 9", "8:14: search.optimizer: ASHA compares trials by one metric"),
    ("name: tpe", "name: hyperband, resource_max: 9", "8:14: search.optimizer: Hyperband compares trials by one metric"),
    ("name: tpe", "name: bohb, resource_max: 9", "8:14: search.optimizer: BOHB compares trials by one metric"),
    ("  num_trials: 30\n", "  num_trials: 30\n  early_stop: {name: median}\n", "10:15: search.early_stop: MedianStop stops trials by one metric; take it out, or write metric and direction"),
    ("  num_trials: 30\n", "  num_trials: 30\n  stop: {target: 0.9}\n", "10:10: search.stop.target: is a value of one metric; of several use no_better_for"),
    ("train: t.py:train\n", "train: t.py:train\nvalue: best\n", "2:8: value: picks a report by one metric"),
    ("kind: inline", "kind: simulated", "2:1: metrics: a simulated trial has one metric and no other number; write metric and direction"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "message"), MISTAKES)
def test_every_mistake_is_refused_at_its_place(
    folder: Folder, before: str, after: str, message: str
) -> None:
    assert before in SOUND
    (found,) = told(folder, SOUND.replace(before, after))
    assert found.startswith(f"config.yaml:{message}")


@pytest.mark.parametrize("section", ["optimizer: {name: tpee}", "early_stop: {name: mediann}"])
def test_a_name_that_there_is_not_is_told_as_that_alone(folder: Folder, section: str) -> None:
    (found,) = told(folder, SOUND.replace("optimizer: {name: tpe}", section))
    assert "mean" in found
    assert "by one metric" not in found


def test_all_mistakes_are_told_at_once(folder: Folder) -> None:
    text = SOUND.replace("name: tpe", "name: gp").replace("kind: inline", "kind: simulated")
    text += "value: best\nmetric: accuracy\n"
    paths = [line.split(": ")[1] for line in told(folder, text)]
    assert paths == ["metrics", "search.optimizer", "value", "metric"]


def test_a_study_goes_by_one_metric(folder: Folder) -> None:
    text = SOUND + "hparams: {augment: true}\nablation: {components: {a: {augment: false}}}\n"
    assert not told(folder, text)
    # What is wrong with the search alone is nothing to a study.
    (found,) = told(folder, text.replace("name: tpe", "name: gp"), "ablate")
    assert found.startswith("config.yaml:2:1: metrics: an ablation study compares its arms by one")


def test_a_name_that_says_the_other_direction_is_a_warning(folder: Folder) -> None:
    text = SOUND.replace("accuracy: max", "accuracy: min").replace("ms: min", "ms: max")
    assert told(folder, text) == [
        "config.yaml:3:13: metrics.accuracy: is min, but the name 'accuracy' says that larger is better",
        "config.yaml:4:15: metrics.latency_ms: is max, but the name 'latency_ms' says that smaller is better",
    ]


@pytest.mark.parametrize("name", ["random", "qmc", "tpe", "grid, points: 3"])
@pytest.mark.parametrize("more", ["", "  stop: {no_better_for: 9}\n"])
def test_what_goes_with_several_is_taken(folder: Folder, name: str, more: str) -> None:
    text = SOUND.replace("name: tpe", f"name: {name}")
    assert not told(folder, text.replace("  num_trials: 30\n", f"  num_trials: 30\n{more}"))


def test_one_training_may_have_several_too(folder: Folder) -> None:
    text = re.sub(r"search:.*?\ncluster", "hparams: {x: 1.0}\ncluster", SOUND, flags=re.DOTALL)
    assert not told(folder, text)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metrics": {"a": "max"}}, "metrics: expected two or more"),
        ({"metrics": {"a": "max", "b": "up"}}, "metrics.b: expected 'max' or 'min', got 'up'"),
        ({"metrics": ["a", "b"]}, "metrics: expected a mapping"),
        (
            {"metrics": {"a": "max", "b": "min"}, "metric": "a"},
            "metric: stands beside metrics",
        ),
        (
            {"metrics": {"a": "max", "b": "min"}, "direction": "max"},
            "direction: stands beside metrics",
        ),
        (
            {"metrics": {"a": "max", "b": "min"}, "optimizer": "gp"},
            "optimizer: GP compares trials by one metric",
        ),
    ],
)
def test_a_call_is_checked_as_a_config_is(given: dict[str, Any], message: str) -> None:
    def train(x: float) -> float:
        return x

    space = Searchspace(x=("DOUBLE", [0.0, 1.0]))
    with pytest.raises(UsageError) as refused:
        experiment.lagom(train, space, num_trials=3, cluster={"kind": "inline"}, **given)
    assert message in str(refused.value)
