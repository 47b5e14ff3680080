"""Every registered ablator keeps the contract; the registry itself is the list of cases."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from dotrain import AbstractAblator, Arm, Component, plugins
from dotrain.ablation.ablators import AddOneIn, LeaveOneOut
from dotrain.testing import check_ablator

#: What an ablator must be given; the rest of its options have defaults.
OPTIONS: dict[str, dict[str, Any]] = {"pairs": {"pairs": [["feature:a", "layer:dense"]]}}


@pytest.mark.parametrize("name", sorted(plugins.registered(plugins.ABLATORS)))
def test_every_ablator_keeps_the_contract(name: str) -> None:
    ablator = plugins.load_plugin(plugins.ABLATORS, name)
    check_ablator(lambda: ablator(**OPTIONS.get(name, {})))


class Random(LeaveOneOut):
    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        return random.sample(list(super().arms(components)), 2)


class Once(LeaveOneOut):
    def __init__(self) -> None:
        self.made: Iterable[Arm] = ()

    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        self.made = self.made or iter(super().arms(components))
        return self.made


class Counting(LeaveOneOut):
    count = 0

    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        Counting.count += 1
        return list(super().arms(components))[: 1 + (Counting.count > 2)]


class Empty(AbstractAblator):
    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        return []


class Misnamed(LeaveOneOut):
    def baseline(self, components: Sequence[Component]) -> Arm:
        return Arm("everything")


class Same(LeaveOneOut):
    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        return [Arm("one", (component.name,)) for component in components]


class Unknown(LeaveOneOut):
    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        return [Arm("c", ("feature:c",))]


class Twice(LeaveOneOut):
    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        return [Arm("a", ("feature:a", "feature:a"))]


class Nothing(LeaveOneOut):
    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        return [Arm("nothing")]


class Takes(AddOneIn):
    adds = False


@pytest.mark.parametrize(
    ("ablator", "fault"),
    [
        (Random, "a used ablator differs"),
        (Once, "a used ablator differs"),
        (Counting, "two ablators differ"),
        (Empty, "makes no arm"),
        (Misnamed, "the baseline is called everything"),
        (Same, "two arms are called one"),
        (Unknown, "c leaves out what there isn't"),
        (Twice, "a leaves one out twice"),
        (Nothing, "nothing leaves out nothing more than the baseline"),
        (Takes, "feature:a leaves out nothing more than the baseline"),
    ],
)
def test_the_kit_notices(ablator: type[AbstractAblator], fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        check_ablator(ablator)
