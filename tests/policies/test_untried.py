"""What is left of a finite space: drawn while draws find new ones, then gone through."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from dotrain.core.untried import Untried
from dotrain.space import Int, Params, Searchspace


class Scripted(Random):
    """Takes places as they are told, and says how often it has shuffled."""

    def __init__(self, places: list[int]) -> None:
        super().__init__(0)
        self.places = places
        self.shuffled = 0

    def randrange(self, *_: Any, **__: Any) -> int:
        return self.places.pop(0)

    def shuffle(self, x: Any) -> None:
        self.shuffled += 1
        super().shuffle(x)


def drawing(values: Iterator[int] | list[int], count: list[int]) -> Any:
    """Draw these, then the last of them again and again."""
    values = list(values)

    def draw() -> Params:
        count[0] += 1
        return {"a": values.pop(0) if len(values) > 1 else values[0]}

    return draw


def test_of_a_large_space_one_is_picked_after_a_thousand_repeats() -> None:
    left, rng, count = Untried(Searchspace(a=Int(range=(0, 4999)))), Scripted([0, 7, 0, 7, 8]), [0]
    assert left.draw(drawing([0], count), rng) == {"a": 0}
    assert count == [1]
    assert left.draw(drawing([0], count), rng) == {"a": 7}  # 0 is tried already
    assert count == [1001]
    assert left.draw(drawing([7, 0], count), rng) == {"a": 8}
    assert count == [2001]
    assert left.draw(drawing([0, 7, 9], count), rng) == {"a": 9}
    assert (count, rng.shuffled) == ([2004], 0)


@pytest.mark.parametrize(("size", "is_gone_through"), [(1000, True), (1001, False)])
def test_a_small_space_is_gone_through_in_one_order(size: int, is_gone_through: bool) -> None:
    left, rng, count = Untried(Searchspace(a=Int(range=(1, size)))), Scripted([3]), [0]
    draw = drawing([1], count)
    left.draw(draw, rng)
    found = left.draw(draw, rng)
    assert (rng.shuffled, found == {"a": 4}) == ((1, False) if is_gone_through else (0, True))
    if is_gone_through:
        rest = [{"a": n} for n in range(2, size + 1)]
        Random(0).shuffle(rest)
        assert [found, *(left.draw(draw, rng) for _ in rest[1:])] == rest[::-1]
        assert (rng.shuffled, count, left.draw(draw, rng)) == (1, [1001], None)


@pytest.mark.parametrize(("tried", "is_gone_through"), [(499, False), (500, True)])
def test_a_space_of_which_a_quarter_is_tried_is_small(tried: int, is_gone_through: bool) -> None:
    left, rng = Untried(Searchspace(a=Int(range=(1, 2000)))), Scripted([1999])
    for value in range(1, tried + 1):
        left.note({"a": value})
    left.draw(drawing([1], [0]), rng)
    assert rng.shuffled == is_gone_through


def test_what_is_noted_later_is_left_out_of_the_rest() -> None:
    left, rng = Untried(Searchspace(a=Int(range=(1, 4)))), Random(0)
    assert left.size == 4
    found = [left.draw(lambda: {"a": 1}, rng) for _ in range(2)]
    (other, last) = {1, 2, 3, 4} - {one["a"] for one in found if one}
    for params in ({"a": other}, {"a": 9}, {"b": 1}, {"a": [1]}):
        left.note(params)
    assert [left.draw(lambda: {"a": 1}, rng) for _ in range(2)] == [{"a": last}, None]
