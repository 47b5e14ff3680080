"""Layers left out of Keras models on its other backends: tests of the surgery, in a process each."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.conftest import ROOT
from tests.late import needs_keras

pytestmark = [needs_keras, pytest.mark.slow]

#: A few that go through all of it; the rest says nothing of a backend, and JAX compiles for long.
CHOSEN = "every_layer_is_bypassed_or_refused and stack or weights_that_get"
#: JAX trains by other methods, and lets numbers of any kind into a convolution.
FURTHER = {
    "jax": "",
    "torch": " or models_without_a_graph or fails_only_when_it_runs or compiled_model_stays",
}


@pytest.mark.parametrize("backend", FURTHER)
def test_surgery_works_on_other_backends(backend: str) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        CHOSEN + FURTHER[backend],
    ]
    done = subprocess.run(
        [*command, "tests/frameworks/keras/test_surgery.py"],
        cwd=ROOT,
        # JAX compiles faster so.
        env={
            **os.environ,
            "KERAS_BACKEND": backend,
            "XLA_FLAGS": "--xla_backend_optimization_level=0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]
