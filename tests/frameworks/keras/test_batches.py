"""Batches for Keras on JAX and PyTorch: rows once, in the order of each epoch's number, however they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from dotrain.core.strategy import Seat
from dotrain.frameworks.base import epoch_order
from dotrain.plugins import STRATEGIES, load_plugin
from dotrain.training.errors import BadSetup
from tests.late import Late, needs_keras

pytestmark = needs_keras

ours = Late("dotrain.frameworks.keras.batches")
theirs = Late("keras.src.trainers.epoch_iterator")

ROWS, SIZE, SEED = 11, 4, 7


def expected(epoch: int) -> list[list[int]]:
    order = epoch_order(ROWS, SEED, epoch).tolist()
    return [order[first : first + SIZE] for first in range(0, ROWS, SIZE)]


def test_a_loop_and_fit_get_the_same_epochs_one_after_the_other() -> None:
    batches = ours.KerasBatches((np.arange(ROWS), np.arange(ROWS)), SIZE, SEED, 3)
    assert len(batches) == 3
    assert [x.tolist() for x, _ in batches] == expected(3)
    asked = theirs.EpochIterator(batches, shuffle=True)
    for epoch in (4, 5):
        found = [batch for _, _, steps in asked for batch in steps]
        assert [x.tolist() for x, _ in found] == expected(epoch)
    for _ in batches:
        break
    assert [x.tolist() for x, _ in batches] == expected(7)


def test_epochs_of_fewer_steps_go_through_all_rows() -> None:
    batches = ours.KerasBatches((np.arange(ROWS),), SIZE, SEED, 0)
    asked = theirs.EpochIterator(batches, steps_per_epoch=1, shuffle=True)
    found = [step[0].tolist() for _ in range(3) for _, _, steps in asked for step in steps]
    assert found == expected(0)


@pytest.mark.parametrize("rows", [3, 11])
def test_a_look_at_a_batch_is_no_epoch(rows: int) -> None:
    batches = ours.KerasBatches((np.arange(rows),), SIZE, SEED, 0)
    # What `fit` does to build a model.
    code = compile("def _symbolic_build(batches): return batches[0]", "trainer", "exec")
    keras_file = {"__name__": "keras.src.trainers.trainer"}
    exec(code, keras_file)
    (looked,) = keras_file["_symbolic_build"](batches)  # type: ignore[operator]
    order = epoch_order(rows, SEED, 0).tolist()
    assert looked.tolist() == order[:SIZE]
    assert [row for (x,) in batches for row in x.tolist()] == order


def test_arrays_of_unequal_length_and_no_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"equally many rows, got shapes \(2,\), \(3,\)"):
        ours.KerasBatches((np.arange(2), np.arange(3)), 2, None, 0)
    with pytest.raises(ValueError, match="batch_size: expected a number >= 1, got 0"):
        ours.KerasBatches((np.arange(2),), 0, None, 0)


def test_devices_of_one_backend_are_not_for_another() -> None:
    batches = ours.KerasBatches((np.arange(2),), 1, None, 0)
    with pytest.raises(BadSetup, match=r"Keras computes with tensorflow here.*KERAS_BACKEND=jax"):
        batches.placed(None)


@pytest.mark.parametrize("module", ["mirrored:Mirrored", "multi_worker:MultiWorkerMirrored"])
def test_tensorflows_strategies_refuse_another_backend(
    monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    import keras

    strategy = load_plugin(STRATEGIES, f"dotrain.frameworks.tensorflow.{module}")(workers=1)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(BadSetup, match=r"mirrored' is TensorFlow's.*take strategy: jax with"):
        strategy.begin(Seat())
