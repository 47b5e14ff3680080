"""Every registered framework keeps the contract; the registry itself is the list of cases."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dotrain.frameworks import registry
from dotrain.frameworks.base import AbstractFramework
from dotrain.frameworks.none import ArrayBatches, NoFramework
from dotrain.plugins import FRAMEWORKS, load_plugin
from dotrain.testing import check_framework

pytestmark = pytest.mark.filterwarnings("default")  # TensorFlow's own


def keras_model() -> Any:
    import keras

    dense = [keras.layers.Dense(4, name="first"), keras.layers.Dense(4, name="second")]
    return keras.Sequential([keras.layers.Input((4,)), *dense])


def drawn(package: str) -> Any:
    module = importlib.import_module(package)
    if package == "keras":
        return module.ops.convert_to_numpy(module.random.uniform((3,))).tolist()
    draw = {"tensorflow": "random.uniform", "torch": "rand"}[package]
    for name in draw.split("."):
        module = getattr(module, name)
    return module((3,)).numpy().tolist()


MODELS = {"keras": keras_model}

#: What has no generator of its own: a seed is a parameter of each training, NumPy's, or a key of the user's.
WITHOUT_GENERATOR = {"xgboost", "lightgbm", "catboost", "sklearn", "jax"}


@pytest.mark.parametrize("name", registry.names())
def test_every_framework_keeps_the_contract(name: str) -> None:
    make = load_plugin(FRAMEWORKS, name)
    package = make.packages[0]  # lightning's is PyTorch's
    pytest.importorskip(package)
    draw = None if package in WITHOUT_GENERATOR else lambda: drawn(package)
    check_framework(make, draw=draw, model=MODELS.get(name))


def test_doing_without_any_keeps_the_contract() -> None:
    check_framework(NoFramework, draw=lambda: (random.random(), np.random.random()))


class Modest(NoFramework):  # type: ignore[misc]
    """Has models, and leaves none of their layers out."""

    def is_model(self, model: Any) -> bool:
        return isinstance(model, random.Random)


def test_a_framework_need_not_leave_layers_out() -> None:
    check_framework(Modest, model=random.Random)
    with pytest.raises(AssertionError, match="doesn't know its own model"):
        check_framework(Modest, model=list)


class Forgetful(AbstractFramework):
    def seed(self, seed: int) -> None: ...


class Greedy(NoFramework):  # type: ignore[misc]
    def takes_data(self, data: Any) -> bool:
        return True


class Still(NoFramework):  # type: ignore[misc]
    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        return list(ArrayBatches(data, size, seed, epoch))


class Lossy(NoFramework):  # type: ignore[misc]
    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        return [batch for batch in ArrayBatches(data, size, seed, epoch) if len(batch[0]) == size]


class Importing(NoFramework):  # type: ignore[misc]
    packages = ("random",)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (Forgetful, "equal seeds draw differently"),
        (Greedy, "takes None for its data"),
        (Still, "all epochs have the same order"),
        (Lossy, "rows out of order"),
        (Importing, "importing .* imports random"),
    ],
)
def test_the_kit_notices(make: Callable[[], AbstractFramework], fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check_framework(make, draw=random.random)


def test_array_batches_go_through_the_rows_again_and_again() -> None:
    batches = ArrayBatches((np.arange(5), [[0], [1], [2], [3], [4]]), 2, seed=None)
    assert len(batches) == 3
    for _ in range(2):
        assert [x.tolist() for x, _ in batches] == [[0, 1], [2, 3], [4]]
        assert [y.shape for _, y in batches] == [(2, 1), (2, 1), (1, 1)]


def test_arrays_of_unequal_length_and_no_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"equally many rows, got shapes \(2,\), \(3,\)"):
        ArrayBatches((np.arange(2), np.arange(3)), 2, None)
    with pytest.raises(ValueError, match="batch_size: expected a number >= 1, got 0"):
        ArrayBatches((np.arange(2),), 0, None)


def test_a_program_uses_what_it_names_whatever_the_process_has_imported() -> None:
    def used(*packages: str) -> list[str]:
        return [type(one).__name__ for one in registry.in_use(set(packages))]

    everything = [type(one).__name__ for one in registry.loaded()]
    assert used() == used("numpy", "math", "os") == ["NoFramework"]
    assert used("keras", "numpy") == ["Keras", "NoFramework"]
    assert used("tensorflow", "keras") == ["Keras", "TensorFlow", "NoFramework"]
    assert used("jax", "keras", "torch") == ["Keras", "Torch", "Jax", "NoFramework"]
    # An installed package of the user's may import one in its place.
    assert used("somebodys") == everything
