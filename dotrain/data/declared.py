"""A table as the config declares it: nothing of it has been read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
            BadData: If one that the config names isn't there, or is the label: the first of `faults`.
        """
        for fault in self.faults(known, beside):
            raise fault
        return self._chosen(known, beside)

    def faults(self, known: Sequence[str], beside: Iterable[str] = ()) -> Iterator[BadData]:
        """Yield all that is wrong with the columns that the config names; args are those of `chosen`."""
        text = self.source.text
        try:
            order(self.derived, known, self.label)
        except BadData as error:
            yield error
        every = [*known, *(one.name for one in self.derived)]
        if self.label not in every:
            hint = did_you_mean(self.label, list(every))
            yield BadData(f"{text} has no label column '{self.label}'{hint}", "label")
        named = [(("split", key), name) for key, name in self.split.named.items()]
        named += [(("types", name), name) for name in self.kinds]
        for path, name in named:
            if name not in every:
                yield _unknown(name, every, text, *path)
        yield from self._faults_of_columns(every)
        if self.columns is not None:
            yield from self._idle()
            return
        found = self._chosen(known, beside)
        if telling := [name for name in found if self._tells_label(name)]:
            message = f"column '{telling[0]}' tells the label, which is computed from it: {self._label_text}"
            yield BadData(f"{message}; name the columns to predict from under columns", "label")
        if not found:
            yield BadData(f"{text} has no column beside the label", self.source.kind)

    def _faults_of_columns(self, every: Sequence[str]) -> Iterator[BadData]:
        others = [one for one in every if one != self.label]
        columns = self.columns or ()
        for index, name in enumerate(columns):
            path = "columns", index
            if name in columns[:index]:
                yield BadData(f"column '{name}' is named twice", *path)
            elif name == self.label:
                yield BadData(f"column '{name}' is the label, and can't be predicted from", *path)
            elif name not in others:
                yield _unknown(name, others, self.source.text, *path)
            elif self._tells_label(name):
                message = f"column '{name}' tells the label, which is computed from it"
                yield BadData(f"{message}: {self._label_text}", *path)

    def _chosen(self, known: Sequence[str], beside: Iterable[str]) -> tuple[str, ...]:
        if self.columns is not None:
            return self.columns
        left_out = {self.label, *self.split.columns, *beside}
        every = [*known, *(one.name for one in self.derived)]
        return tuple(name for name in every if name not in left_out)

    def _tells_label(self, name: str) -> bool:
        of_label = with_needs([self.label], self.derived) - {self.label}
        return bool(with_needs([name], self.derived) & of_label)

    @property
    def _label_text(self) -> str:
        return next(f"{one.name}: {one.text}" for one in self.derived if one.name == self.label)

    def _idle(self) -> Iterator[BadData]:
        """Yield derived columns that nobody asks for, where the columns are named."""
        asked = with_needs([*(self.columns or ()), self.label, *self.split.columns], self.derived)
        for one in self.derived:
            if one.name not in asked:
                yield BadData(f"'{one.name}' is not among data.columns", "derive", one.name)


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


def _unknown(name: str, known: Sequence[str], text: str, *key: str | int) -> BadData:
    return BadData(f"{text} has no column '{name}'{did_you_mean(name, list(known))}", *key)
