"""Layers, groups and variants of a Keras model, left out by `dotrain ablate`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dotrain import AblationStudy, experiment
from dotrain.config import load_config
from dotrain.report.display import Quiet
from dotrain.runs.definition import Experiment
from dotrain.runs.session import run
from tests.conftest import Project

pytestmark = pytest.mark.timeout(200)

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


@pytest.mark.parametrize(
    "distribution",
    [{"strategy": "single"}, {"strategy": "multi_worker_mirrored", "workers": 2}],
    ids=["single", "group"],
)
def test_arms_begin_with_the_baselines_weights(
    project: Project, distribution: dict[str, Any]
) -> None:
    project.write("user.py", USER)
    project.config(
        **BASE,
        ablation=STUDY,
        distribution=distribution,
        cluster={"kind": "local", "workers": 2},
    )
    done = project.cli("ablate", "config.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["trials"] == {
        "total": 10,
        "finished": 10,
        "stopped": 0,
        "diverged": 0,
        "failed": 0,
    }
    assert result["baseline"]["params"] == 16 + 20 + 20 + 5
    arms = {arm["name"]: arm for arm in result["components"]}
    assert {name: arm["params"] for name, arm in arms.items()} == {
        "feature:b": -4,
        "layer:block_b": -20,
        "group:block_*": -40,
        "model:no_skip": 0,
    }

    def first(trial: int) -> dict[str, Any]:
        file = project.path / result["run_dir"] / "trials" / f"t{trial:04d}" / "first.json"
        found: dict[str, Any] = json.loads(file.read_text())
        return {name: weights for name, weights in found.items() if weights}

    for seed in range(2):
        baseline, feature, layer, group, variant = (first(5 * seed + arm) for arm in range(5))
        assert set(layer) == set(baseline) - {"block_b"}
        assert set(group) == {"first", "last"}
        for arm in (layer, group, variant):
            for name, weights in arm.items():
                assert weights == pytest.approx(baseline[name], abs=1e-6), name
        # Its first kernel has another shape, the rest begins alike.
        assert feature["last"] == pytest.approx(baseline["last"], abs=1e-6)
    assert first(0) != first(5), "seeds differ"


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


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_left_out_is_refused_with_its_line(project: Project, case: str) -> None:
    section, message = REFUSED[case]
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
    result = run(Experiment.of_config(loaded), project.path / "runs", Quiet())
    assert result.summary["trials"]["failed"] == 1
    assert "never called model_gen.create()" in result.summary["failures"][0]["message"]


@pytest.mark.filterwarnings("default")
def test_a_study_of_layers_and_features_in_python(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.path)
    names: dict[str, Any] = {}
    exec(USER, names)

    def training_fn(dataset_function: Any, model_function: Any) -> float:
        model = model_function()
        model.compile("sgd", "mse")
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
