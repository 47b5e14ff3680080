"""Keras on each of its backends: what is continued is what was never interrupted, to the bit."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.late import needs_keras

pytestmark = [pytest.mark.slow, needs_keras]

CASES = Path(__file__).with_name("backend_cases.py")

BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"),
    )
    for name in ("tensorflow", "jax", "torch")
]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_training_that_was_killed_ends_as_the_one_that_never_was(
    project: Project, backend: str
) -> None:
    result = project.run(
        train=f"{CASES}:train",
        data=f"{CASES}:load",
        metric="loss",
        direction="min",
        hparams={"at": 2},
        cluster={"kind": "local", "workers": 1, "threads": 1},
        # JAX compiles faster so.
        env=[{"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_backend_optimization_level=0"}],
    )
    (trial,) = result.trials
    assert str(trial.state) == "finished", trial.error
    assert (trial.attempt, trial.step_history) == (2, [0, 1, 2, 3])
    told = json.loads((result.run_dir / "trials" / trial.trial_id / "told.json").read_text())
    assert told["continued"] == told["whole"]
    assert told["backend"] == backend
    # Installed or not, the other backends do without.
    assert told["tensorflow"] == (backend == "tensorflow")
