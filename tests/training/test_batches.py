"""`data_gen.batch()`: numbers that are none, and data that ranks can't share, are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dotrain.training.errors import BadSetup
from dotrain.training.generators import DataGenerator, Sources
from dotrain.training.program import LoadedProgram, Program
from dotrain.usercode.function import FunctionRef, Functions


def generator(data: Callable[[], Any], ranks: int = 1, **hparams: Any) -> DataGenerator:
    functions = Functions(FunctionRef("train"))
    program = Program("token", functions, "score", hparams, "/nowhere")
    loaded = LoadedProgram(program, lambda: None, None, data)
    return DataGenerator(Sources(loaded, {}, hparams, 7, ranks=ranks))


def ten() -> Any:
    return (np.arange(10),)


@pytest.mark.parametrize("epoch", [-1, 1.5, "1", float("nan"), float("inf"), [1]])
def test_an_epoch_that_is_no_number_of_one_is_refused(epoch: Any) -> None:
    with pytest.raises(BadSetup, match=r"epoch=.*: expected a whole number >= 0"):
        generator(ten).batch(4, epoch=epoch)


@pytest.mark.parametrize("size", [0, -1, 2.5, "4"])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    for given in (
        lambda: generator(ten).batch(size),
        lambda: generator(ten, batch_size=size).batch(),
    ):
        with pytest.raises(BadSetup, match=r"batch_size=.*: expected a whole number >= 1"):
            given()


def test_whole_numbers_of_all_kinds_are_the_same() -> None:
    orders = [
        [rows.tolist() for (rows,) in generator(ten).batch(size, epoch=epoch)]
        for size, epoch in ((4, 1), (4.0, 1.0), (np.int64(4), np.float32(1)))
    ]
    assert orders[0] == orders[1] == orders[2]
    assert [len(rows) for rows in orders[0]] == [4, 4, 2]


@pytest.mark.parametrize("data", [{"x": [1, 2]}, [[1, 2], [3, 4]], np.arange(3), iter([1])])
def test_what_is_given_as_it_is_is_refused_where_ranks_should_share_it(data: Any) -> None:
    assert generator(lambda: data).batch(2) is data
    with pytest.raises(BadSetup, match="each would get all rows"):
        generator(lambda: data, ranks=2).batch(2)
    assert generator(lambda: data, ranks=2).load() is data
