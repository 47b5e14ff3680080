"""A mistake in one section doesn't hide those of another kind in the others."""

from __future__ import annotations

import pytest

from dotrain.config import ConfigError, load_config
from tests.conftest import Project
from tests.folder import Folder


def test_mistakes_of_structure_and_of_meaning_come_in_one_round(project: Project) -> None:
    project.write("user.py", "def train(x, model_gen): pass")
    file = project.write(
        "config.yaml",
        """\
        train: user.py:train
        metric: 3
        search:
          space: {x: {type: float, range: [0.0, 1.0]}}
          num_trials: 3
        ablation: {layers: [a]}
        limits: {retries: -1}
        cluster: {kind: remote, options: {a: 1}}
        """,
    )
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert [
        problem.origin.split(":")[-2] + " " + problem.message[:40]
        for problem in caught.value.problems
    ] == [
        f"1 {file.parent}/user.py:1: train() asks"[:42],
        "2 expected text, got 3",
        "6 the config has no 'model:' to leave it o",
        "7 expected a number greater than or equal ",
        "8 unknown kind 'remote'; known: address, i",
        "8 go with a Dask cluster class or 'simulat",
    ]


def test_a_key_that_is_not_text_hides_no_other_mistake_of_its_section(folder: Folder) -> None:
    search = "  on: 1\n  space: {x: {type: float, range: [0, 1]}}\n  optimizer: {name: nowhere}\n"
    ablation = "  off: 1\n  components: {c: {x: 1}}\n  early_stop: {name: nobody}\n"
    sections = f"search:\n{search}ablation:\n{ablation}"
    found = folder.problems("train: t.py:train\nmetric: m\n" + sections)
    assert [text.partition(";")[0] for text in found] == [
        "4:3: search: the key on is not text: YAML reads on as true",
        "6:21: search.optimizer.name: unknown optimizer 'nowhere'",
        "8:3: ablation: the key off is not text: YAML reads off as false",
        "10:22: ablation.early_stop.name: unknown early-stop rule 'nobody'",
    ]


def test_a_plugin_whose_constructor_breaks_is_a_mistake_of_the_config(project: Project) -> None:
    project.write("user.py", "def train(x): pass")
    project.write(
        "breaks.py",
        """
        from dotrain.optimizers.random import RandomSearch

        class Breaks(RandomSearch):
            def __init__(self, *, a: int = 1):
                raise TypeError("no way")
        """,
    )
    file = project.config(
        search={
            "space": {"x": {"type": "float", "range": [0.0, 1.0]}},
            "num_trials": 3,
            "optimizer": {"name": "breaks:Breaks"},
        }
    )
    with pytest.raises(ConfigError, match=r"search\.optimizer: TypeError: no way"):
        load_config(file)
