"""Ablators: from the components of a study to its arms."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from dotrain.ablation.components import Component
from dotrain.ablation.study import BASELINE, Arm
from dotrain.errors import did_you_mean


class AbstractAblator(ABC):
    """Decides which components each arm of a study leaves out.

    Subclasses take their options as keyword arguments of ``__init__``, with type annotations:
    these become the keys of ``ablation.ablator`` in the config, and are validated as such.
    """

    #: Whether the arms add components to a baseline that lacks them, instead of leaving them out.
    adds: ClassVar[bool] = False

    def baseline(self, components: Sequence[Component]) -> Arm:
        """Return the arm that all others are compared with; by default nothing is left out."""
        return Arm(BASELINE)

    @abstractmethod
    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        """Return the other arms, in the order in which they are shown.

        Args:
            components: Everything that may be left out.

        Raises:
            ValueError: If the options don't fit the components, with what would.
        """


class LeaveOneOut(AbstractAblator):
    """Leave out one component at a time (LOCO)."""

    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        """Return an arm for each component."""
        return [Arm(component.name, (component.name,)) for component in components]


class AddOneIn(AbstractAblator):
    """Leave out everything, and add one component at a time.

    Two components that stand in for each other look worthless when only one is left out; here
    each shows what it is worth by itself.
    """

    adds: ClassVar[bool] = True

    def baseline(self, components: Sequence[Component]) -> Arm:
        """Return the arm without any component."""
        return Arm(BASELINE, tuple(component.name for component in components))

    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        """Return for each component the arm that leaves out all others."""
        names = [component.name for component in components]
        return [Arm(name, tuple(other for other in names if other != name)) for name in names]


class Pairs(AbstractAblator):
    """Leave out single components, and chosen pairs of them together.

    A pair that costs more than its two parts do is redundant: each stands in for the other.
    """

    def __init__(self, *, pairs: list[list[str]]) -> None:
        """Make the ablator.

        Args:
            pairs: Lists of two names of components, such as ``[feature:sex, feature:age]``.
        """
        self.pairs = pairs
        seen: set[frozenset[str]] = set()
        for pair in pairs:
            if len(pair) != 2 or len(set(pair)) != 2:
                raise ValueError(f"pairs: expected two different names, got {pair}")
            if frozenset(pair) in seen:
                raise ValueError(f"pairs: {pair} stands twice")
            seen.add(frozenset(pair))

    def arms(self, components: Sequence[Component]) -> Iterable[Arm]:
        """Return an arm for each component of a pair, then one for each pair."""
        known = [component.name for component in components]
        for name in (name for pair in self.pairs for name in pair):
            if name not in known:
                raise ValueError(f"pairs: unknown component '{name}'{did_you_mean(name, known)}")
        single = [name for name in known if any(name in pair for pair in self.pairs)]
        return [
            *(Arm(name, (name,)) for name in single),
            *(Arm("+".join(pair), tuple(pair)) for pair in self.pairs),
        ]
