"""Layers, groups and variants of a PyTorch module, left out by `dotrain ablate`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dotrain import experiment
from dotrain.config import ConfigError, load_config
from dotrain.core.observer import Observer
from dotrain.runs.definition import Experiment
from dotrain.runs.session import run
from tests.conftest import Project
from tests.late import needs_torch

pytestmark = [
    needs_torch,
    pytest.mark.filterwarnings("default"),
    pytest.mark.usefixtures("rehearsed_here"),
]

USER = """
import json
import numpy as np
import torch
from torch import nn

calls = []

def load_data(features):
    calls.append(1)
    table = {"a": np.arange(12.0), "b": np.arange(12.0) ** 2, "c": np.ones(12)}
    columns = features.select(table)
    rows = np.stack([table[c] for c in columns], axis=1) / 100
    return rows.astype("float32"), np.arange(12.0).astype("float32") / 12

class Net(nn.Module):
    def __init__(self, ins, skip=True, inner=6):
        super().__init__()
        self.skip = skip
        self.first = nn.Linear(ins, 4)
        self.block = nn.Sequential(nn.Linear(4, inner), nn.Tanh(), nn.Linear(inner, 4))
        self.spare = nn.ModuleDict({"idle": nn.Linear(4, 4)})
        self.last = nn.Linear(4, 1)

    def forward(self, x, extra=False):
        x = torch.relu(self.first(x))
        x = x + self.block(x) if self.skip else self.block(x)
        if extra:
            x = self.spare["idle"](x)
        return self.last(x)

def build(features, inner=6):
    return Net(len(features.select(["a", "b", "c"])), inner=inner)

def without_skip(features):
    return Net(len(features.select(["a", "b", "c"])), skip=False)

same = build

def train(model_gen, data_gen, trial_dir):
    model = model_gen.create()
    first = {name: p.sum().item() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    order = []
    for epoch in range(2):
        for x, y in data_gen.batch(4, epoch=epoch):
            x, y = torch.as_tensor(x), torch.as_tensor(y)
            order.append([round(float(each), 4) for each in y])
            loss = (model(x)[:, 0] - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    drawn = torch.rand(2).tolist()
    (trial_dir / "first.json").write_text(json.dumps([first, order, drawn]))
    return {"loss": loss.item()}
"""
BASE: dict[str, Any] = {
    "model": "user.py:build",
    "data": "user.py:load_data",
    "metric": "loss",
    "direction": "min",
    "cluster": {"kind": "inline"},
}


def test_arms_begin_with_the_baselines_weights_and_draw_its_numbers(project: Project) -> None:
    project.write("user.py", USER)
    study = {
        "features": ["b"],
        "layers": ["block", "block.1"],
        "layer_groups": [{"prefix": "block.0"}, {"pattern": "block.?"}],
        "models": {"no_skip": "user.py:without_skip"},
        "components": {"wide": {"inner": 5}},
        "seeds": 2,
    }
    result = experiment.ablate(
        project.config(**BASE, ablation=study), runs_dir=project.path / "runs", quiet=True
    )
    summary = result.summary
    assert summary["trials"]["failed"] == 0
    assert summary["baseline"]["params"] == 16 + 30 + 28 + 20 + 5
    assert {arm["name"]: arm["params"] for arm in summary["components"]} == {
        "feature:b": -4,
        "layer:block": -58,
        "layer:block.1": 0,
        "group:block.0*": -30 - 8,
        "group:block.?": -58,
        "model:no_skip": 0,
        "component:wide": -9,
    }
    changes = {arm["name"]: arm["changes"] for arm in summary["components"]}
    assert changes["group:block.0*"] == ["block.2: weight (4, 6) -> (4, 4)"]
    assert changes["layer:block"][-1] == "forward: 2 tensors in add -> one and the same"
    arms = ["baseline", *(arm["name"] for arm in summary["components"])]
    for seed in range(2):
        told = []
        for index in range(len(arms)):
            trial = f"t{len(arms) * seed + index:04d}"
            file = Path(summary["run_dir"]) / "trials" / trial / "first.json"
            told.append(json.loads((project.path / file).read_text()))
        for arm, (first, order, drawn) in zip(arms, told, strict=True):
            assert (order, drawn) == tuple(told[0][1:]), arm
            anew = {
                "feature:b": "first",
                "group:block.0*": "block.2",
                "component:wide": "block",
            }.get(arm)
            for name, total in first.items():
                if anew is None or not name.startswith(anew):
                    assert total == told[0][0][name], (arm, name)


REFUSED = {
    "a typo": (
        {"layers": ["blok.0"]},
        r"config.yaml:1:\d+: ablation.layers\[0\]: .*did you mean 'block.0'\?",
    ),
    "no such prefix": (
        {"layer_groups": [{"prefix": "blok."}]},
        r"layer_groups\[0\]: .*'blok.'.*did you mean 'block",
    ),
    "the same graph": (
        {"models": {"twin": "user.py:same"}},
        "changes nothing: it has the graph of 'model:'",
    ),
    "another output": ({"layers": ["last"]}, r"layers\[0\]: .*changes the model's output"),
    "never called": ({"layers": ["spare.idle"]}, "no forward pass calls 'spare.idle'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_left_out_is_refused_with_its_line(project: Project, case: str) -> None:
    section, message = REFUSED[case]
    project.write("user.py", USER)
    with pytest.raises(ConfigError) as refused:
        experiment.ablate(project.config(**BASE, ablation=section), runs_dir=project.path / "runs")
    assert re.search(message, str(refused.value)), str(refused.value)
    assert not (project.path / "runs").exists()


def failure_of(project: Project, user: str, **more: Any) -> str:
    """Run a study without its block, and return how its arm failed."""
    project.write("user.py", user)
    given = {**BASE, **more}
    project.config(**given, ablation={"layers": ["block"], "seeds": 1})
    loaded = load_config(project.path / "config.yaml", mode="ablate")
    summary = run(Experiment.of(loaded), project.path / "runs", Observer()).summary
    assert summary["trials"]["failed"] == 1, summary
    return str(summary["failures"][0]["message"])


def test_a_part_that_the_real_trial_never_calls_is_no_silent_success(project: Project) -> None:
    past = USER.replace("(model(x)[:, 0]", "(model.last(model.first(x))[:, 0]")
    message = failure_of(project, past)
    assert "arm layer:block: no model without 'block' was trained" in message
    own = USER.replace("model = model_gen.create()", "model_gen.create()\n    model = Net(3)")
    assert "no model without 'block' was trained" in failure_of(project, own)


def test_data_that_cannot_be_had_are_told_of_with_the_way_out(project: Project) -> None:
    broken = USER.replace("    calls.append(1)\n", "    raise OSError('no disk')\n").replace(
        "self.first = nn.Linear(ins, 4)",
        "self.scale = nn.Parameter(torch.ones(ins)); self.first = nn.Linear(ins, 4)",
    )
    project.write("user.py", broken)
    config = project.config(**BASE, ablation={"layers": ["block"]})
    with pytest.raises(
        ConfigError, match="rows of the data can't be had: OSError: no disk; give the"
    ):
        experiment.ablate(config, runs_dir=project.path / "runs", quiet=True)


def test_a_model_with_an_example_of_its_own_needs_no_data(project: Project) -> None:
    user = USER.replace("return Net(len(", "return with_example(len(").replace(
        "def build(",
        "def with_example(ins, **more):\n    net = Net(ins, **more)\n    net.example_input_array = torch.zeros(3, ins)\n    return net\n\ndef build(",
        1,
    )
    project.write("user.py", user)
    study = {"layers": ["block"], "seeds": 1}
    result = experiment.ablate(
        project.config(**BASE, ablation=study), runs_dir=project.path / "runs", quiet=True
    )
    assert result.summary["trials"]["failed"] == 0


def test_data_that_draw_are_the_same_at_each_call(project: Project) -> None:
    drawing = USER.replace(
        "columns = features.select(table)",
        "table['a'] = np.random.rand(12) + torch.rand(12).numpy(); columns = features.select(table)",
    )
    project.write("user.py", drawing)
    config = project.config(**BASE, ablation={"layers": ["block"], "seeds": 1})
    result = experiment.ablate(config, runs_dir=project.path / "runs", quiet=True)
    assert result.summary["trials"]["failed"] == 0


def test_data_that_differ_at_each_call_are_refused(project: Project) -> None:
    other = USER.replace(
        "columns = features.select(table)",
        "columns = features.select(table)\n    table['a'] = table['a'] + len(calls)",
    )
    project.write("user.py", other)
    config = project.config(**BASE, ablation={"layers": ["block"]})
    with pytest.raises(ConfigError, match="gives other rows at its second call"):
        experiment.ablate(config, runs_dir=project.path / "runs", quiet=True)
