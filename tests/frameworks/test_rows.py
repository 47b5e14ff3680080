"""Rows that are read batch by batch give each framework the batches that it has of arrays."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dotrain.frameworks.base import AbstractFramework, epoch_order
from dotrain.frameworks.none import NoFramework
from dotrain.frameworks.rows import ArrayRows, Cut, Order, Rows, read
from tests.late import Late, needs_keras, needs_torch
from tests.training.test_batches import generator

if TYPE_CHECKING:
    from dotrain.frameworks.keras import batches as keras_batches
    from dotrain.frameworks.torch import data as torch_data
else:
    keras_batches = Late("dotrain.frameworks.keras.batches")
    torch_data = Late("dotrain.frameworks.torch.data")

needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")


class Shelf(Rows):
    """Rows that note what was taken at once, in an order of their own if they are told one."""

    def __init__(self, count: int, at_once: int = 1, backwards: bool = False) -> None:
        self.arrays = features(count)
        self.rows_at_once = at_once
        self.taken: list[int] = []
        self.forgotten = 0
        self._backwards = backwards

    def __len__(self) -> int:
        return len(self.arrays[0])

    def take(self, indices: NDArray[np.intp]) -> tuple[NDArray[Any], ...]:
        self.taken.append(len(indices))
        return tuple(array[indices] for array in self.arrays)

    def forget(self) -> None:
        self.forgotten += 1

    def order(self, seed: int | None, epoch: int) -> Order:
        order = epoch_order(len(self), seed, epoch)
        return order[::-1] if self._backwards else order  # type: ignore[no-any-return]


def features(count: int) -> tuple[NDArray[Any], ...]:
    x = np.random.RandomState(0).normal(size=(count, 3)).astype(np.float32)
    return x, np.arange(count), np.arange(count, dtype=np.uint8).reshape(-1, 1, 1)


def of_none(data: Any, size: int, seed: int | None, epoch: int) -> Any:
    return NoFramework().batches(data, size, seed, epoch)


def of_jax(data: Any, size: int, seed: int | None, epoch: int) -> Any:
    from dotrain.frameworks.jax.framework import Jax

    assert Jax().takes_data(data)
    return Jax().batches(data, size, seed, epoch)


def of_tensorflow(data: Any, size: int, seed: int | None, epoch: int) -> Any:
    from dotrain.frameworks.tensorflow.framework import TensorFlow

    assert TensorFlow().takes_data(data)
    return TensorFlow().batches(data, size, seed, epoch)


def of_keras(data: Any, size: int, seed: int | None, epoch: int) -> Any:
    return keras_batches.KerasBatches(data, size, seed, epoch)


def of_torch(data: Any, size: int, seed: int | None, epoch: int) -> Any:
    from dotrain.frameworks.torch.framework import Torch

    assert Torch().takes_data(data)
    return Torch().batches(data, size, seed, epoch)


CHEAP = [
    of_none,
    pytest.param(of_jax, marks=needs_jax),
    pytest.param(of_keras, marks=needs_keras),
    pytest.param(of_torch, marks=needs_torch),
]


def bits(batches: Any) -> list[list[tuple[str, tuple[int, ...], bytes]]]:
    return [
        [(str(part.dtype), part.shape, part.tobytes()) for part in map(np.asarray, batch)]
        for batch in batches
    ]


def same(make: Callable[..., Any], rows: Shelf, size: int, seed: int | None, epoch: int) -> None:
    """Two epochs of the rows are two of their arrays, byte for byte."""
    read, expected = (make(data, size, seed, epoch) for data in (rows, rows.arrays))
    assert len(read) == len(expected)
    for _ in range(2):
        assert bits(read) == bits(expected)


@pytest.mark.parametrize("make", CHEAP)
@settings(max_examples=15)
@given(
    st.integers(1, 40),
    st.integers(1, 12),
    st.none() | st.integers(0, 3),
    st.integers(0, 2),
    st.integers(1, 50),
)
def test_batches_of_rows_are_those_of_their_arrays(
    make: Callable[..., Any], count: int, size: int, seed: int | None, epoch: int, at_once: int
) -> None:
    same(make, Shelf(count, at_once), size, seed, epoch)


@needs_keras
@pytest.mark.parametrize(("count", "size", "seed"), [(11, 4, 7), (12, 4, None)])
def test_a_data_set_of_rows_is_that_of_their_arrays(
    count: int, size: int, seed: int | None
) -> None:
    rows = Shelf(count, 8)
    same(of_tensorflow, rows, size, seed, 1)
    read, of_arrays = (of_tensorflow(data, size, seed, 1) for data in (rows, rows.arrays))
    assert read.element_spec == of_arrays.element_spec
    assert int(read.cardinality()) == int(of_arrays.cardinality()) == -(-count // size)
    # Iterations beside each other are epochs of their own.
    both = list(zip(read, read, strict=True)), list(zip(of_arrays, of_arrays, strict=True))
    for one, other in zip(*both, strict=True):
        assert [bits([each]) for each in one] == [bits([each]) for each in other]


@needs_torch
@settings(max_examples=15)
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 5), st.booleans(), st.integers(1, 50))
def test_ranks_share_the_batches_of_rows_as_those_of_arrays(
    count: int, size: int, ranks: int, shuffled: bool, at_once: int
) -> None:
    rows = Shelf(count, at_once)
    seed = 3 if shuffled else None
    for rank in range(ranks):
        found = [
            bits(torch_data.dealt(of_torch(data, size, seed, 2), torch_data.Dealt(rank, ranks)))
            for data in (rows, rows.arrays)
        ]
        assert found[0] == found[1]
    if count >= 2 * ranks and size == count and ranks > 1:
        assert max(rows.taken) < count, "each rank reads its own rows alone"


def test_rows_that_lie_together_are_taken_together_and_none_twice() -> None:
    rows = Shelf(25, at_once=10)
    batches = of_none(rows, 4, 1, 0)
    assert len(list(batches)) == 7
    assert rows.taken == [12, 12, 1], "whole batches, until there are so many rows"
    assert [len(batch[0]) for batch in read(rows, Cut(rows, 30, None, 0))] == [25]


@pytest.mark.parametrize("make", [*CHEAP, pytest.param(of_tensorflow, marks=needs_keras)])
def test_rows_are_forgotten_when_an_epoch_is_over(make: Callable[..., Any]) -> None:
    rows = Shelf(11, at_once=8)
    batches = make(rows, 4, 1, 0)
    for epoch in range(1, 3):
        assert len(list(batches)) == 3
        assert rows.forgotten == epoch
    for _ in batches:
        assert rows.forgotten == 2, "not while it goes on"
        break


@needs_torch
def test_a_ranks_batches_of_an_epoch_end_with_it() -> None:
    """Not when the garbage collector comes by: each may hold rows."""
    gc.collect()
    gc.disable()
    try:
        rows = Shelf(11)
        batches = torch_data.dealt(of_torch(rows, 4, 1, 0), torch_data.Dealt(0, 2))
        assert len(list(batches)) == 3
        left = weakref.ref(rows)
        del rows, batches
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("make", [*CHEAP, pytest.param(of_tensorflow, marks=needs_keras)])
def test_an_order_of_their_own_is_kept(make: Callable[..., Any]) -> None:
    found = [row for _, y, _ in make(Shelf(11, backwards=True), 4, 5, 1) for row in np.asarray(y)]
    assert found == epoch_order(11, 5, 1)[::-1].tolist()


def test_a_data_function_may_give_rows_of_its_own() -> None:
    rows = Shelf(10)
    found = [y.tolist() for _, y, _ in generator(lambda: rows).batch(4, shuffle=False)]
    assert found == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@needs_torch
def test_rows_of_words_are_not_pytorchs() -> None:
    from dotrain.frameworks.torch.framework import Torch

    words = ArrayRows([np.array(["a", "b"])])
    assert not Torch().takes_data(words)
    assert bits(of_none(words, 2, None, 0)) == bits([(np.array(["a", "b"]),)])


def test_a_cut_is_a_sequence_and_has_no_size_of_none() -> None:
    cut = Cut(Shelf(7), 3, None, 0)
    assert [each.tolist() for each in cut] == [[0, 1, 2], [3, 4, 5], [6]]
    assert cut[-1].tolist() == [6]
    assert [each.tolist() for each in cut[1:]] == [[3, 4, 5], [6]]
    with pytest.raises(IndexError):
        cut[3]
    with pytest.raises(ValueError, match="batch_size: expected a number >= 1, got 0"):
        Cut(Shelf(7), 0, None, 0)


class Skips(NoFramework):  # type: ignore[misc]
    """Of rows it forgets the last batch."""

    def batches(self, data: Any, size: int, seed: int | None, epoch: int) -> Any:
        batches = super().batches(data, size, seed, epoch)
        return list(batches)[:-1] if isinstance(data, Rows) else batches


def test_the_kit_notices_other_batches_of_rows() -> None:
    from dotrain.testing import check_framework

    made: type[AbstractFramework] = Skips
    with pytest.raises(AssertionError, match="batches of rows are not those of their arrays"):
        check_framework(made)
