"""Plain code needs no framework, and imports none."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Project

USER = """
import sys

import numpy as np


def data(split):
    rows = 10 if split == "train" else 5
    return np.arange(float(rows)), np.arange(rows)


def train(data_gen, reporter, dist_strategy, seed, hparams):
    with dist_strategy() as strategy:
        assert strategy.num_replicas_in_sync == 1
        assert not hasattr(strategy, "nothing_like_this")
        assert strategy.scope() is strategy
    batches = data_gen.batch()
    score = 0.0
    for epoch in range(2):
        order = [int(y) for _, labels in batches for y in labels]
        assert sorted(order) == list(range(10))
        score = 100 * score + order[0]
    validation = data_gen.batch(2, split="validation")
    assert [x.tolist() for x, _ in validation] == [[0.0, 1.0], [2.0, 3.0], [4.0]]
    for name in ("keras", "tensorflow", "torch"):
        assert name not in sys.modules, name
    return score
"""


@pytest.mark.parametrize("kind", ["inline", "local"])
def test_arrays_and_one_process_need_no_framework(project: Project, kind: str) -> None:
    project.write("user.py", USER)
    values = []
    for _ in range(2):
        config = project.config(
            data="user.py:data", hparams={"batch_size": 4}, seed=3, cluster={"kind": kind}
        )
        done = project.cli("run", str(config), "--json")
        assert not done.returncode, done.stdout + done.stderr
        values.append(json.loads(done.stdout)["best"]["value"])
    assert values[0] == values[1]
