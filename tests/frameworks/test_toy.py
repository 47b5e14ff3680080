"""A framework that dotrain has never heard of: one file and an entry point, and every room uses it."""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotrain import plugins
from dotrain.ablation.components import LayerGroup, Variant
from dotrain.distribution.single import Single
from dotrain.executors.environment import environment_of_attempts
from dotrain.executors.threads import share
from dotrain.frameworks import registry
from dotrain.testing import check_framework
from dotrain.training.generators import DataGenerator, ModelGenerator, Sources
from dotrain.training.numbers import as_number
from dotrain.training.program import LoadedProgram, Program
from dotrain.training.seeding import reseed, seed_everything
from dotrain.usercode.function import FunctionRef, Functions
from dotrain.versions import environment
from tests.conftest import Project

#: The framework, as its authors have written it.
TOYFRAME = """
import random

generator = random.Random()
names = []
rank = 0


class Value:
    def __init__(self, number):
        self.number = number


class Batches(list):
    pass


class Model:
    def __init__(self, layers):
        self.layers = dict(layers)
        names.append(f"model{len(names)}")
"""

#: The one file that dotrain needs to know it.
PLUGIN = """
from dotrain import AbstractFramework
from dotrain.ablation.layers import Surgery
from dotrain.frameworks.none import ArrayBatches, are_arrays


class Toy(AbstractFramework):
    packages = ("toyframe",)
    distributions = ("toyframe",)

    def threads(self, count):
        return {"TOY_THREADS": str(count)}

    def environment(self):
        return {"TOY_LOG": "quiet"}

    def reset(self):
        import toyframe

        toyframe.names.clear()

    def seed(self, seed):
        import toyframe

        toyframe.generator.seed(seed)

    def takes_data(self, data):
        return are_arrays(data)

    def batches(self, data, size, seed, epoch):
        import toyframe

        if seed is None:
            return toyframe.Batches(ArrayBatches(data, size, None))
        return ArrayBatches(data, size, seed, epoch)

    def same_data(self, one, other):
        import toyframe

        mine = isinstance(one, toyframe.Batches) and isinstance(other, toyframe.Batches)
        return str(one) == str(other) if mine else None

    def scope(self):
        import toyframe

        return toyframe

    def number(self, value):
        import toyframe

        return value.number if isinstance(value, toyframe.Value) else None

    def is_model(self, model):
        import toyframe

        return isinstance(model, toyframe.Model)

    def layer_names(self, model):
        return list(model.layers)

    def without_layers(self, model, names, first_rows=None):
        import toyframe

        rest = {name: count for name, count in model.layers.items() if name not in names}
        gone = sum(model.layers[name] for name in names)
        return Surgery(toyframe.Model(rest), tuple(names), (), -gone)

    def inherit(self, original, model):
        model.inherited = list(original.layers)

    def parameters(self, model):
        return sum(model.layers.values())

    def same_graph(self, one, other):
        return one.layers == other.layers
"""

USER = """
import numpy as np
import toyframe

X = np.arange(10.0)


def model(units=3):
    return toyframe.Model({"first": units, "second": 2 * units, "last": 1})


def data(features):
    return X, X


def train(model_gen, data_gen, reporter, dist_strategy):
    batches = data_gen.batch(4, shuffle=False)
    assert type(batches) is toyframe.Batches, batches
    assert dist_strategy().rank == 0
    size = sum(model_gen.create().layers.values())
    value = toyframe.Value(size + toyframe.generator.random())
    reporter.broadcast(value)
    return value
"""


@pytest.fixture
def toyframe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The framework, installed; other processes see it too."""
    place = tmp_path / "site"
    info = place / "toyframe-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toyframe\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[dotrain.frameworks]\ntoyframe = toyplugin:Toy\n")
    (place / "toyframe.py").write_text(TOYFRAME)
    (place / "toyplugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), *filter(None, sys.path)]))
    plugins.registered.cache_clear()
    registry._make.cache_clear()
    yield importlib.import_module("toyframe")
    plugins.registered.cache_clear()
    registry._make.cache_clear()
    for name in ("toyframe", "toyplugin"):
        sys.modules.pop(name, None)


def sources(variant: Variant | None = None, **functions: Any) -> Sources:
    given = Functions(FunctionRef("train"), packages=("numpy", "toyframe"))
    program = Program("token", given, "score", {}, "/nowhere")
    loaded = LoadedProgram(
        program, lambda: None, functions.get("model"), functions.get("data"), functions
    )
    return Sources(loaded, {}, {"batch_size": 4}, 7, variant or Variant())


def test_it_keeps_the_contract(toyframe: Any) -> None:
    check_framework(
        plugins.load_plugin(plugins.FRAMEWORKS, "toyframe"),
        draw=toyframe.generator.random,
        model=lambda: toyframe.Model({"a": 1, "b": 2}),
    )


def test_it_is_loaded_when_its_package_is_and_not_before(toyframe: Any) -> None:
    known = [type(one).__name__ for one in registry.loaded()]
    assert "Toy" in known
    del sys.modules["toyframe"]
    assert "Toy" not in [type(one).__name__ for one in registry.loaded()]
    registry.import_packages(["numpy", "toyframe"])
    assert "Toy" in [type(one).__name__ for one in registry.loaded()]


def test_seeds_and_state(toyframe: Any) -> None:
    toyframe.names.append("left over")
    seed_everything(5)
    assert toyframe.names == []
    first = random.random(), np.random.random(), toyframe.generator.random()
    reseed(5)
    assert (random.random(), np.random.random(), toyframe.generator.random()) == first


def test_data(toyframe: Any) -> None:
    rows = np.arange(6.0), np.arange(6)
    batches = DataGenerator(sources(data=lambda: rows)).batch(shuffle=False)
    assert type(batches) is toyframe.Batches
    assert [y.tolist() for _, y in batches] == [[0, 1, 2, 3], [4, 5]]
    assert DataGenerator(sources(data=lambda: "text")).batch() == "text"


def test_models(toyframe: Any) -> None:
    layers = LayerGroup("b*", prefix="b")
    given = sources(
        Variant(layers=(layers,), model="other"),
        model=lambda: toyframe.Model({"a": 1, "b": 2, "b2": 3}),
        other=lambda: toyframe.Model({"a": 2, "b": 5}),
    )
    made = ModelGenerator(given)._ablated(given.loaded.model(), (), {})  # type: ignore[misc]
    assert made.layers == {"a": 2}
    handmade = sources(Variant(model="other"), other=given.loaded.models["other"])
    assert ModelGenerator(handmade)._ablated(toyframe.Model({"a": 9}), (), {}).inherited == ["a"]


def test_values(toyframe: Any) -> None:
    assert as_number(toyframe.Value(0.5)) == 0.5
    assert as_number(toyframe) is None


def test_the_scope_of_one_process(toyframe: Any) -> None:
    scope = Single().open()
    with scope as inner:
        assert inner.rank == 0
    assert not hasattr(scope, "nothing_like_this")


def test_environment_and_versions(toyframe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = environment_of_attempts(share(4, 2))
    assert (found["TOY_THREADS"], found["TOY_LOG"]) == ("2", "quiet")
    monkeypatch.setenv("TOY_LOG", "loud")
    assert environment_of_attempts(share(4, 2))["TOY_LOG"] == "loud"
    assert environment()["packages"]["toyframe"] == "1.2"


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_a_study_from_end_to_end(toyframe: Any, project: Project, kind: str) -> None:
    project.write("user.py", USER)
    config = project.config(
        model="user.py:model",
        data="user.py:data",
        ablation={"layers": ["second"], "layer_groups": [{"prefix": "fir"}], "seeds": 2},
        cluster={"kind": kind},
    )
    done = project.cli("ablate", str(config), "--json")
    assert not done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert {row["name"]: row["params"] for row in found["components"]} == {
        "layer:second": -6,
        "group:fir*": -3,
    }
    # The value's fraction is drawn from the framework's generator, by the trial's seed.
    again = json.loads(project.cli("ablate", str(config), "--json").stdout)
    values = [[row["values"] for row in study["components"]] for study in (found, again)]
    assert values[0] == values[1] != []
    (journal,) = Path(found["run_dir"]).glob("journal.jsonl")
    header = json.loads(journal.read_text().splitlines()[0])
    assert header["environment"]["packages"]["toyframe"] == "1.2"
    bad = project.config(
        model="user.py:model", data="user.py:data", ablation={"layers": ["secnd"], "seeds": 2}
    )
    refused = project.cli("ablate", str(bad))
    assert refused.returncode
