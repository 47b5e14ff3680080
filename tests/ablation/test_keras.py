"""Layers, groups and variants of a Keras model, left out by `dotrain ablate`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain import AblationStudy, experiment
from dotrain.config import ConfigError, load_config
from dotrain.core.observer import Observer
from dotrain.runs.definition import Experiment
from dotrain.runs.session import run
from tests.conftest import Project

pytestmark = pytest.mark.slow

USER = """
import json
import keras
import numpy as np

L = keras.layers

def load_data(features):
    table = {"a": np.arange(12.0), "b": np.arange(12.0) ** 2, "c": np.ones(12)}
    columns = features.select(table)
    rows = np.stack([table[c] for c in columns], axis=1) / 100
    return rows.astype("float32"), np.arange(12.0).astype("float32") / 12

def build(features):
    inputs = L.Input((len(features.select(["a", "b", "c"])),))
    x = L.Dense(4, activation="relu", name="first")(inputs)
    y = L.Dense(4, activation="relu", name="block_a")(x)
    y = L.Dense(4, name="block_b")(y)
    y = L.Add(name="add")([x, y])
    return keras.Model(inputs, L.Dense(1, name="last")(y))

def without_skip(features):
    inputs = L.Input((len(features.select(["a", "b", "c"])),))
    x = L.Dense(4, activation="relu", name="first")(inputs)
    x = L.Dense(4, activation="relu", name="block_a")(x)
    return keras.Model(inputs, L.Dense(1, name="last")(L.Dense(4, name="block_b")(x)))

same = build

def train(model_gen, data_gen, dist_strategy, trial_dir):
    with dist_strategy():
        model = model_gen.create()
        model.compile(keras.optimizers.SGD(0.05), "mse")
    first = {layer.name: [float(w.sum()) for w in layer.get_weights()] for layer in model.layers}
    (trial_dir / "first.json").write_text(json.dumps(first))
    history = model.fit(data_gen.batch(4), epochs=2, verbose=0).history
    return {"loss": history["loss"][-1]}
"""
STUDY: dict[str, Any] = {
    "features": ["b"],
    "layers": ["block_b"],
    "layer_groups": [{"prefix": "block_"}],
    "models": {"no_skip": "user.py:without_skip"},
    "seeds": 2,
}
BASE: dict[str, Any] = {
    "model": "user.py:build",
    "data": "user.py:load_data",
    "metric": "loss",
    "direction": "min",
}


BASELINE_PARAMS = 16 + 20 + 20 + 5
CHANGED_PARAMS = {"feature:b": -4, "layer:block_b": -20, "group:block_*": -40, "model:no_skip": 0}


def arms_of(
    result: dict[str, Any], folder: Path, seeds: int
) -> Iterator[dict[str, dict[str, list[float]]]]:
    """Yield for each seed the weights that each arm began with, by layer, the baseline's first."""
    names = ["baseline", *(arm["name"] for arm in result["components"])]
    trials = {"total": len(names) * seeds, "finished": len(names) * seeds}
    assert result["trials"] == {**trials, "stopped": 0, "diverged": 0, "failed": 0}
    found = {arm["name"]: arm["params"] for arm in result["components"]}
    assert found == {name: CHANGED_PARAMS[name] for name in names[1:]}
    assert result["baseline"]["params"] == BASELINE_PARAMS
    for seed in range(seeds):
        arms = {}
        for index, name in enumerate(names):
            trial = f"t{len(names) * seed + index:04d}"
            file = folder / result["run_dir"] / "trials" / trial / "first.json"
            weights = json.loads(file.read_text())
            arms[name] = {layer: sums for layer, sums in weights.items() if sums}
        yield arms


def begin_alike(arms: dict[str, dict[str, list[float]]]) -> bool:
    """Whether every arm begins with the baseline's weights."""
    baseline = arms["baseline"]
    for arm, layers in arms.items():
        for layer, sums in layers.items():
            # Without a column its first kernel has another shape, the rest begins alike.
            if (arm, layer) != ("feature:b", "first"):
                assert sums == pytest.approx(baseline[layer], abs=1e-6), (arm, layer)
    return True


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("rehearsed_here")
def test_arms_begin_with_the_baselines_weights(project: Project) -> None:
    # Step by step: tracing each arm's model would take most of the time.
    project.write("user.py", USER.replace('"mse")', '"mse", run_eagerly=True)'))
    config = project.config(**BASE, ablation=STUDY, cluster={"kind": "inline"})
    result = experiment.ablate(config, runs_dir=project.path / "runs", quiet=True)
    first, second = arms_of(result.summary, project.path, seeds=2)
    for arms in (first, second):
        assert set(arms["layer:block_b"]) == set(arms["baseline"]) - {"block_b"}
        assert set(arms["group:block_*"]) == {"first", "last"}
        assert begin_alike(arms)
    assert first["baseline"] != second["baseline"], "seeds differ"


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("rehearsed_here")
def test_arms_of_a_group_of_workers_begin_with_the_baselines_weights(project: Project) -> None:
    project.write("user.py", USER)
    config = project.config(
        **BASE,
        ablation={"features": ["b"], "layers": ["block_b"], "seeds": 1},
        distribution={"strategy": "multi_worker_mirrored", "workers": 2},
        cluster={"kind": "local", "workers": 2},
    )
    result = experiment.ablate(config, runs_dir=project.path / "runs", quiet=True)
    (arms,) = arms_of(result.summary, project.path, seeds=1)
    assert set(arms["layer:block_b"]) == set(arms["baseline"]) - {"block_b"}
    assert begin_alike(arms)


REFUSED = {
    "a typo": (
        {"layers": ["blok_b"]},
        r"config.yaml:1:\d+: ablation.layers\[0\]: .*'blok_b'.*did you mean 'block_b'\?",
    ),
    "no such prefix": ({"layer_groups": [{"prefix": "blok_"}]}, r"layer_groups\[0\]: .*blok_"),
    "the same graph": (
        {"models": {"twin": "user.py:same"}},
        r"ablation.models.twin: changes nothing: it has the graph of 'model:'",
    ),
    "a variant that isn't there": (
        {"models": {"twin": "user.py:nope"}},
        r"ablation.models.twin: .*has no function 'nope'",
    ),
    "another output": ({"layers": ["last"]}, r"ablation.layers\[0\]: .*last.*"),
}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.usefixtures("rehearsed_here")
def test_what_cannot_be_left_out_is_refused_with_its_line(project: Project, case: str) -> None:
    section, message = REFUSED[case]
    project.write("user.py", USER)
    config = project.config(**BASE, ablation=section)
    with pytest.raises(ConfigError) as refused:
        experiment.ablate(config, runs_dir=project.path / "runs")
    assert re.search(message, str(refused.value)), str(refused.value)
    assert not (project.path / "runs").exists()


def test_a_refusal_ends_the_command_with_2(project: Project) -> None:
    section, message = REFUSED["a typo"]
    project.write("user.py", USER)
    project.config(**BASE, ablation=section)
    done = project.cli("ablate", "config.yaml")
    assert done.returncode == 2, done.stderr
    assert re.search(message, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.filterwarnings("default")
def test_a_train_function_that_builds_its_own_model_is_no_silent_success(project: Project) -> None:
    project.write(
        "user.py",
        USER.replace(
            "model_gen.create()",
            'build(__import__("dotrain.ablation.study", fromlist=["x"]).Features())',
        ),
    )
    project.config(**BASE, ablation={"layers": ["block_b"], "seeds": 1}, cluster={"kind": "inline"})
    loaded = load_config(project.path / "config.yaml", mode="ablate")
    result = run(Experiment.of(loaded), project.path / "runs", Observer())
    assert result.summary["trials"]["failed"] == 1
    assert "never called model_gen.create()" in result.summary["failures"][0]["message"]


@pytest.mark.filterwarnings("default")
@pytest.mark.usefixtures("rehearsed_here")
def test_a_study_of_layers_and_features_in_python(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    names: dict[str, Any] = {}
    exec(USER, names)

    def training_fn(dataset_function: Any, model_function: Any) -> float:
        model = model_function()
        model.compile("sgd", "mse", run_eagerly=True)
        x, y = dataset_function()
        return float(model.fit(x, y, verbose=0).history["loss"][-1])

    study = AblationStudy(seeds=2)
    study.features.include("a", "b")
    study.model.layers.include("block_a")
    study.model.layers.include_groups(["block_a", "block_b"])
    study.model.set_base_generator(names["build"])
    study.set_dataset_generator(names["load_data"])
    result = experiment.lagom(
        training_fn, ablation=study, direction="min", cluster={"kind": "inline"}, quiet=True
    )
    assert [(arm["name"], arm["n"], arm["params"]) for arm in result["components"]] == [
        ("feature:a", 2, -4),
        ("feature:b", 2, -4),
        ("layer:block_a", 2, -20),
        ("group:block_a+block_b", 2, -40),
    ]
