"""JAX on several ranks computes what one process would; what it can't is refused."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dotrain.config import load_config
from dotrain.core.observer import Observer
from dotrain.distribution.loopback import is_loopback
from dotrain.runs.definition import Experiment
from dotrain.runs.result import Result
from dotrain.runs.session import run
from tests.late import needs_keras

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (find_spec("jax") and find_spec("optax")), reason="JAX or Optax is not installed"
    ),
]

CASES = Path(__file__).with_name("jax_cases.py")
MODES: dict[int, dict[str, Any]] = {
    1: {"strategy": "single"},
    **{count: {"strategy": "jax", "workers": count} for count in (2, 3, 4)},
}


def trained(folder: Path, function: str, workers: int, **sections: Any) -> Result:
    config = folder / f"{workers}.yaml"
    data = {
        "train": f"{CASES}:{function}",
        "data": f"{CASES}:load",
        "metric": "done",
        "distribution": MODES[workers],
        "cluster": {"kind": "local", "workers": workers, "threads": 1},
        # Compiling takes nearly all the time.
        "env": [{"XLA_FLAGS": "--xla_backend_optimization_level=0"}],
        **sections,
    }
    config.write_text(json.dumps(data))
    return run(Experiment.of(load_config(config)), folder, Observer())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The directory of a trial of all cases, by the number of ranks."""
    folder = tmp_path_factory.mktemp("exactness")
    places = {}
    for workers in MODES:
        result = trained(folder, "train", workers)
        trial_dir = result.run_dir / "trials" / "t0000"
        assert result.best, (trial_dir / "output.log").read_text()
        places[workers] = trial_dir
    return places


def test_training_is_the_same_on_one_process_and_on_several(found: dict[int, Path]) -> None:
    one, *others = (json.loads((path / "cases.json").read_text()) for path in found.values())
    assert [len(each) for each in (one, *others)] == [5, 5, 3, 3]
    for other in others:
        for name, (numbers, rows) in other.items():
            assert numbers == pytest.approx(one[name][0], rel=1e-5, abs=1e-5), name
            assert rows == one[name][1], name


def test_each_rank_holds_its_share_of_the_rows(found: dict[int, Path]) -> None:
    held = [json.loads((path / "held.json").read_text()) for path in found.values()]
    assert held == [12, 6, 4, 3]


def test_other_machines_reach_no_port_of_ranks_on_one_host(found: dict[int, Path]) -> None:
    alone, *together = (json.loads((path / "listens.json").read_text()) for path in found.values())
    assert alone == []
    for addresses in together:
        # Of the chief: the service, Gloo, and where it tells what it has decided.
        assert len(addresses) == 3
        assert all(is_loopback(address.removeprefix("::ffff:")) for address in addresses)


def test_it_is_said_of_a_batch_that_nobody_shares(found: dict[int, Path]) -> None:
    said = [(path / "output.log").read_text().count("multiple of") for path in found.values()]
    assert said == [0, 1, 0, 0]


@pytest.fixture(scope="module")
def keras_found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The directory of a trial that trains with Keras, by the number of ranks."""
    folder = tmp_path_factory.mktemp("keras")
    places = {}
    for workers in (1, 2):
        environment = [{"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_backend_optimization_level=0"}]
        own = CASES.with_name("keras_on_jax_cases.py")
        functions = {"train": f"{own}:train", "data": f"{own}:load"}
        result = trained(folder, "", workers, **functions, env=environment)
        trial_dir = result.run_dir / "trials" / "t0000"
        assert result.best, (trial_dir / "output.log").read_text()
        places[workers] = trial_dir
    return places


@needs_keras
def test_keras_trains_as_on_one_process(keras_found: dict[int, Path]) -> None:
    one, two = (json.loads((path / "found.json").read_text()) for path in keras_found.values())
    assert two.keys() == one.keys()
    for name, numbers in one.items():
        assert two[name] == pytest.approx(numbers, rel=1e-5, abs=1e-5), name


@needs_keras
def test_kerass_weights_of_classes_are_refused(keras_found: dict[int, Path]) -> None:
    alone, together = ((path / "weighed.txt").read_text() for path in keras_found.values())
    assert alone == ""
    assert "class_weight=...) doesn't work with batches on several workers" in together


def test_ranks_that_train_apart_are_refused(tmp_path: Path) -> None:
    (apart,) = trained(tmp_path, "train_apart", 2).trials
    assert apart.error is not None
    assert apart.error.kind == "setup"
    assert "every worker has trained the same model apart" in apart.error.message
