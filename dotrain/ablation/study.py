"""An ablation study: its arms, and what each leaves out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import final

from dotrain.ablation.components import Component, Variant
from dotrain.errors import UsageError

BASELINE = "baseline"


@final
@dataclass(frozen=True)
class Arm:
    """One variant of the training, run with every seed of the study.

    Attributes:
        name: Of the component whose worth it shows, or of several joined by ``+``;
            `BASELINE` for the variant that the others are compared with.
        left_out: Names of the components that are left out of it.
    """

    name: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """What is left out, in which arms.

    Attributes:
        components: All, by name.
        arms: All, the baseline first.
        adds: Whether the arms add components to a baseline that lacks them.
        seeds: How many seeds each arm runs.
        keep_derived: Whether columns that are computed from a left-out one stay.
    """

    components: Mapping[str, Component]
    arms: Sequence[Arm]
    adds: bool = False
    seeds: int = 5
    keep_derived: bool = False

    def variant(self, arm: str) -> Variant:
        """Return what an arm changes in the training.

        Raises:
            UsageError: As of `Variant.of`.
        """
        left_out = self.left_out(arm)
        added = [one for one in self.components.values() if self.adds and one not in left_out]
        return Variant.of(left_out, added)

    def left_out(self, arm: str) -> list[Component]:
        """Return the components that an arm leaves out."""
        (found,) = (one for one in self.arms if one.name == arm)
        return [self.components[name] for name in found.left_out]


@final
class Features(Container[str]):
    """The columns a data function is to give: all but those that are left out.

    A data function asks for it by the name ``features``::

        def load_data(features):
            columns = features.select(table.columns)
    """

    def __init__(self, left_out: Iterable[str] | Variant = ()) -> None:
        if not isinstance(left_out, Variant):
            left_out = Variant(features=frozenset(left_out))
        self._variant = left_out
        #: Columns that were asked about.
        self.seen: set[str] = set()

    def __contains__(self, column: object) -> bool:
        name = str(column)
        self.seen.add(name)
        found = self._variant
        if name in found.kept or _matches(name, found.kept_patterns):
            return True
        return name not in found.features and not _matches(name, found.patterns)

    def __iter__(self) -> Iterator[str]:
        raise UsageError(
            "features doesn't know the table's columns, so there is nothing to go through; give "
            "features.select(columns)"
        )

    def select(self, columns: Iterable[str]) -> list[str]:
        """Return those of `columns` that are to be given, in their order.

        Raises:
            UsageError: If `columns` is a text: its letters are no columns.
        """
        if isinstance(columns, str):
            raise UsageError(
                f"features.select() takes a list of columns, got the text {columns!r}; "
                f"for one column: {columns!r} in features"
            )
        return [column for column in columns if column in self]

    def __repr__(self) -> str:
        left_out = ", ".join([*sorted(self._variant.features), *sorted(self._variant.patterns)])
        return f"Features(left out: {left_out or 'none'})"


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
