"""Data for PyTorch: a loader stays one, and each rank gets its rows of every global batch."""

from __future__ import annotations

import copy
import pickle
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.frameworks.base import epoch_order
from dotrain.frameworks.none import NoFramework
from dotrain.frameworks.torch.framework import Torch
from dotrain.frameworks.torch.shares import Share, Shares, bounds
from dotrain.testing import check_framework
from dotrain.training.errors import BadSetup
from tests.late import Late, needs_torch

pytestmark = needs_torch

if TYPE_CHECKING:
    import torch
    from torch.utils import data as loaders

    from dotrain.frameworks.torch import data
else:
    torch, loaders = Late("torch"), Late("torch.utils.data")
    data = Late("dotrain.frameworks.torch.data")


def draw() -> list[float]:
    return torch.rand(3).tolist()  # type: ignore[no-any-return]


def test_it_keeps_the_contract() -> None:
    check_framework(Torch, draw=draw)
    check_framework(
        Torch,
        data=lambda: loaders.TensorDataset(torch.arange(11.0).reshape(11, 1), torch.arange(11)),
    )
    check_framework(Torch, data=lambda: loaders.DataLoader(rows(11)))


def rows(count: int) -> Any:
    return loaders.TensorDataset(torch.arange(float(count)).reshape(-1, 1), torch.arange(count))


def by_rank(batches: Any, ranks: int) -> list[list[list[int]]]:
    """The rows of each batch, for each rank."""
    parts = [data.dealt(batches, data.Dealt(rank, ranks)) for rank in range(ranks)]
    return [[batch[1].tolist() for batch in part] for part in parts]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_ranks_share_the_batches_of_one_process(
    count: int, size: int, ranks: int, shuffled: bool
) -> None:
    whole = Torch().batches(rows(count), size, 3 if shuffled else None, 2)
    parts = by_rank(whole, ranks)
    expected = epoch_order(count, 3 if shuffled else None, 2).tolist()
    batches = [expected[first : first + size] for first in range(0, count, size)]
    assert [[row for part in parts for row in part[n]] for n in range(len(whole))] == batches
    for n in range(len(batches)):
        lengths = [len(part[n]) for part in parts]
        assert max(lengths) - min(lengths) <= 1, "as near to equally many as can be"
        assert lengths == sorted(lengths, reverse=True), "the chief has rows if anybody has"


@given(st.integers(0, 50), st.integers(1, 9))
def test_bounds_leave_nothing_out(total: int, ranks: int) -> None:
    found = [bounds(total, rank, ranks) for rank in range(ranks)]
    assert found[0][0] == 0
    assert found[-1][1] == total
    assert all(one[1] == other[0] for one, other in pairwise(found))
    if total:
        weights = [Share(end - first, total, ranks).weight for first, end in found]
        assert sum(weights) == pytest.approx(ranks)


def test_a_loader_keeps_what_it_was_made_with() -> None:
    def joined(batch: Any) -> Any:
        return {"y": torch.stack([y for _, y in batch]), "names": [str(int(y)) for _, y in batch]}

    made = loaders.DataLoader(rows(9), 4, shuffle=True, collate_fn=joined, drop_last=True)
    assert Torch().batching(made) == (4, True)
    batches = Torch().batches(made, 4, 0, 0)
    assert isinstance(batches, loaders.DataLoader)
    assert batches.collate_fn is joined
    assert len(batches) == 2, "drop_last"
    first = next(iter(batches))
    assert [int(name) for name in first["names"]] == first["y"].tolist()


def test_workers_of_a_loader_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = loaders.DataLoader(rows(9), 4)
    one, two = (
        loaders.DataLoader(alone.dataset, 4, num_workers=n, collate_fn=list) for n in (0, 1)
    )
    found = [
        [[int(y) for _, y in batch] for batch in Torch().batches(each, 4, 1, 0)]
        for each in (one, two)
    ]
    assert found[0] == found[1]


def test_a_sampler_of_ones_own_draws_alike_on_all_ranks_and_anew_in_each_epoch() -> None:
    sampler = loaders.WeightedRandomSampler(torch.arange(20) + 1.0, 20)
    batches = Torch().batches(loaders.DataLoader(rows(20), 8, sampler=sampler), 8, 5, 0)
    one, other = by_rank(batches, 2)
    torch.manual_seed(99)
    again = by_rank(batches, 2)
    assert [one, other] == again
    epochs = [[batch[1].tolist() for batch in batches] for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert [a + b for a, b in zip(one, other, strict=True)] == epochs[0]


def test_batches_of_ones_own_stay_as_they_are() -> None:
    own = [[0, 1, 2], [5], [3, 4]]
    made = loaders.DataLoader(rows(6), batch_sampler=own)
    assert by_rank(Torch().batches(made, 32, None, 0), 2) == [[[0, 1], [5], [3]], [[2], [], [4]]]


def test_a_rank_without_rows_gets_none_of_everything() -> None:
    from typing import NamedTuple

    class Pair(NamedTuple):
        x: Any
        names: Any

    batch = {
        "pair": Pair(torch.ones(1, 3), ["a"]),
        "array": np.ones((1, 2)),
        "scalar": torch.ones(()),
    }
    empty = data.without_rows(batch)
    assert empty["pair"].x.shape == (0, 3)
    assert empty["pair"].names == []
    assert empty["array"].shape == (0, 2)
    assert empty["scalar"].shape == ()
    with pytest.raises(BadSetup, match="nobody knows what a object without rows is"):
        data.without_rows(object())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rows(4), "batch_size: expected a number >= 1"),
        (lambda: (np.ones(3), np.ones(4)), "equally many rows"),
        (
            lambda: loaders.DataLoader(rows(4), sampler=loaders.DistributedSampler(rows(4), 2, 0)),
            "leave the sampler out",
        ),
    ],
)
def test_what_cannot_be_batched_is_told(make: Any, message: str) -> None:
    size = 0 if message.startswith("batch_size") else 2
    with pytest.raises(ValueError, match=message):
        Torch().batches(make(), size, None, 0)


def test_arrays_are_not_copied_and_those_of_words_are_not_its_own() -> None:
    array = np.arange(6.0)
    array.setflags(write=False)
    (batch,) = Torch().batches([array[::-1], array], 6, None, 0)
    assert batch[0].tolist() == array[::-1].tolist()
    assert not Torch().takes_data([np.array(["a", "b"])])


def test_a_stream_is_one_processs_own() -> None:
    class Stream(loaders.IterableDataset):  # type: ignore[misc]
        def __iter__(self) -> Any:
            return iter(range(5))

    batches = Torch().batches(Stream(), 2, 0, 0)
    assert [batch.tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert data.dealt(batches, data.Dealt()) is batches
    with pytest.raises(BadSetup, match="have no numbers"):
        data.dealt(batches, data.Dealt(0, 2))


def test_a_normalization_over_ranks_is_copied_as_it_is_and_pickled_as_a_plain_one() -> None:
    from dotrain.frameworks.torch.norms import Pass, is_over_all, over_all_ranks

    plain = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)).eval()
    over = copy.deepcopy(plain)
    over_all_ranks(over, Pass)
    copied, pickled = copy.deepcopy(over), pickle.loads(pickle.dumps(over))
    assert isinstance(over[1], torch.nn.BatchNorm1d)
    assert is_over_all(over[1])
    assert is_over_all(copied[1])
    assert type(pickled[1]) is torch.nn.BatchNorm1d
    x = torch.randn(5, 2)
    for model in (over, copied, pickled):
        assert list(model.state_dict()) == list(plain.state_dict())
        assert torch.equal(model(x), plain(x))
    assert copied[1].weight is not over[1].weight


def test_ranks_that_go_apart_draw_other_numbers_than_the_chief() -> None:
    from types import SimpleNamespace

    from dotrain.frameworks.torch.ddp import DDP

    drawn = []
    for rank in (0, 1, 2, 1):
        strategy = DDP(workers=3)
        strategy._group = SimpleNamespace(rank=rank, ranks=3)
        torch.manual_seed(5)
        strategy.go_apart()
        drawn.append(draw())
    torch.manual_seed(5)
    assert drawn[0] == draw(), "the chief draws as one process does"
    assert drawn[1] == drawn[3]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


class TestShares:
    """Which batch a pass through the model is of."""

    def test_the_last_batch_is_meant_until_another_is_taken(self) -> None:
        shares, even, odd = Shares(), Share(2, 4, 2), Share(1, 1, 2)
        assert shares.now() is None
        iteration = shares.begin()
        shares.give(iteration, even)
        assert shares.now() == shares.now() == even
        shares.give(iteration, odd)
        assert shares.now() == odd
        shares.end(iteration)
        assert shares.now() == odd

    def test_a_validation_in_between_is_over(self) -> None:
        shares, even, odd = Shares(), Share(2, 4, 2), Share(1, 1, 2)
        training, validation = shares.begin(), shares.begin()
        shares.give(training, even)
        shares.now()
        for share in (even, odd):
            shares.give(validation, share)
        shares.end(validation)
        shares.give(training, even)
        assert shares.now() == even

    def test_two_that_differ_are_refused(self) -> None:
        shares = Shares()
        one, other = shares.begin(), shares.begin()
        shares.give(one, Share(2, 4, 2))
        shares.give(other, Share(1, 1, 2))
        with pytest.raises(BadSetup, match="several batches were taken"):
            shares.now()


def test_batches_of_numpy_alone_are_not_everybodys() -> None:
    words = NoFramework().batches((np.arange(4), np.array(list("abcd"))), 2, None, 0)
    assert data.dealt(words, data.Dealt()) is words
    with pytest.raises(BadSetup, match="each would get all rows"):
        data.dealt(words, data.Dealt(0, 2))
