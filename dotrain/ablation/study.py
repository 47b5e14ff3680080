"""An ablation study: its arms, and what each leaves out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import final

from dotrain.ablation.components import Component
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

    def __init__(self, left_out: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self._left_out = frozenset(left_out)
        self._patterns = tuple(sorted(patterns))
        #: Columns that were asked about.
        self.seen: set[str] = set()

    def __contains__(self, column: object) -> bool:
        name = str(column)
        self.seen.add(name)
        is_matched = any(fnmatchcase(name, pattern) for pattern in self._patterns)
        return name not in self._left_out and not is_matched

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
        left_out = ", ".join([*sorted(self._left_out), *self._patterns])
        return f"Features(left out: {left_out or 'none'})"
