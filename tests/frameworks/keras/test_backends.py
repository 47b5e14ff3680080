"""Keras on each of its backends: what is continued is what was never interrupted, to the bit."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dotrain.runs.result import Result
from tests.conftest import Project
from tests.late import needs_keras

pytestmark = [pytest.mark.slow, needs_keras]

CASES = Path(__file__).with_name("backend_cases.py")

BACKENDS = [
    pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason="not installed"))
    for name in ("tensorflow", "jax", "torch")
]


def trained(project: Project, backend: str, *, kill: bool) -> Result:
    return project.run(
        train=f"{CASES}:train",
        data=f"{CASES}:load",
        metric="loss",
        direction="min",
        hparams={"kill": kill},
        search={
            "space": {"at": {"type": "categorical", "values": [1, 2]}},
            "optimizer": {"name": "grid"},
        },
        cluster={"kind": "local", "workers": 2, "threads": 1},
        checkpoints={"keep": "all"},
        env=[{"KERAS_BACKEND": backend}],
    )


def told(result: Result) -> dict[int, Any]:
    """What each trial has written at its end, by the epoch that it is killed at or not."""
    found = {}
    for trial in result.trials:
        assert str(trial.state) == "finished", trial.error
        folder = result.run_dir / "trials" / trial.trial_id
        found[trial.params["at"]] = json.loads((folder / "told.json").read_text())
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_that_was_killed_ends_as_the_one_that_never_was(
    project: Project, backend: str
) -> None:
    killed = trained(project, backend, kill=True)
    whole = trained(project, backend, kill=False)
    assert [t.attempt for t in killed.trials] == [2, 2], killed.trials[0].error
    assert [trial.attempt for trial in whole.trials] == [1, 1]
    assert [trial.step_history for trial in killed.trials] == [[0, 1, 2]] * 2
    expected = told(whole)
    assert len({each["bits"] for each in expected.values()}) == 2
    assert told(killed) == expected
    for each in expected.values():
        assert each["backend"] == backend
        assert each["tensorflow"] == (backend == "tensorflow")
