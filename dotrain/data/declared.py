"""A table as the config declares it: nothing of it has been read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from dotrain.data.derive import Derived, order
from dotrain.data.facts import Kind
from dotrain.data.source import AbstractSource, BadData
from dotrain.data.splits import Split
from dotrain.errors import did_you_mean


@dataclass(frozen=True)
class Declared:
    """A table as the config declares it; nothing of it has been read.

    Attributes:
        source: Where it comes from.
        label: The column to predict.
        columns: The columns to predict from; None for all but the label and those that only divide.
        split: How rows are divided.
        kinds: What people say that columns are.
        derived: Columns computed from others, in the order in which that can be done.
    """

    source: AbstractSource
    label: str
    columns: tuple[str, ...] | None = None
    split: Split = field(default_factory=Split)
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    derived: tuple[Derived, ...] = ()

    def chosen(self, known: Sequence[str], beside: Iterable[str] = ()) -> tuple[str, ...]:
        """Return the columns to predict from, in their order.

        Args:
            known: All that the source has.
            beside: Those of them that must be asked for by name.

        Raises:
            BadData: If one that the config names isn't there, or is the label.
        """
        text = self.source.text
        order(self.derived, known, self.label)
        known = [*known, *(one.name for one in self.derived)]
        if self.label not in known:
            hint = did_you_mean(self.label, list(known))
            raise BadData(f"{text} has no label column '{self.label}'{hint}", "label")
        for key, name in (("by", self.split.by), ("time", self.split.time)):
            if name:
                refuse_unknown(name, known, text, "split", key)
        for name in self.kinds:
            refuse_unknown(name, known, text, "types", name)
        for index, name in enumerate(self.columns or ()):
            if name in (self.columns or ())[:index]:
                raise BadData(f"column '{name}' is named twice", "columns", index)
            if name == self.label:
                message = f"column '{name}' is the label, and can't be predicted from"
                raise BadData(message, "columns", index)
            refuse_unknown(
                name, [one for one in known if one != self.label], text, "columns", index
            )
        of_label = with_needs([self.label], self.derived) - {self.label}
        for index, name in enumerate(self.columns or ()):
            if with_needs([name], self.derived) & of_label:
                message = f"column '{name}' tells the label, which is computed from it"
                raise BadData(f"{message}: {self._label_text}", "columns", index)
        if self.columns is not None:
            self._refuse_idle()
            return self.columns
        left_out = {self.label, *self.split.columns, *beside}
        found = tuple(name for name in known if name not in left_out)
        if telling := [n for n in found if with_needs([n], self.derived) & of_label]:
            message = f"column '{telling[0]}' tells the label, which is computed from it: {self._label_text}"
            raise BadData(f"{message}; name the columns to predict from under columns", "label")
        if not found:
            raise BadData(f"{text} has no column beside the label", self.source.kind)
        return found

    @property
    def _label_text(self) -> str:
        return next(f"{one.name}: {one.text}" for one in self.derived if one.name == self.label)

    def _refuse_idle(self) -> None:
        """Refuse derived columns that nobody asks for, where the columns are named."""
        asked = with_needs([*(self.columns or ()), self.label, *self.split.columns], self.derived)
        for one in self.derived:
            if one.name not in asked:
                raise BadData(f"'{one.name}' is not among data.columns", "derive", one.name)


def with_needs(names: Iterable[str], derived: Sequence[Derived]) -> set[str]:
    """Return columns and all that they are computed from.

    Args:
        names: The columns.
        derived: All that are computed, in the order in which they can be.
    """
    wanted = set(names)
    for one in reversed(derived):
        if one.name in wanted:
            wanted |= set(one.names)
    return wanted


def refuse_unknown(name: str, known: Sequence[str], text: str, *key: str | int) -> None:
    """Refuse a column that isn't there.

    Raises:
        BadData: With the nearest name.
    """
    if name not in known:
        raise BadData(f"{text} has no column '{name}'{did_you_mean(name, list(known))}", *key)
