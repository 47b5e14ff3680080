"""A table that is ready: where its rows are, what is known of its columns, which rows are for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, final

from dotrain.data.declared import with_needs
from dotrain.data.derive import Derived
from dotrain.data.facts import Facts
from dotrain.data.groups import Group
from dotrain.data.source import BadData
from dotrain.data.splits import SPLITS, Split
from dotrain.errors import did_you_mean

#: From so many bytes of encoded rows on, of all columns, rows are read when their batch is made.
LARGE_BYTES = 1 << 28


@final
@dataclass(frozen=True)
class Table:
    """A table that is ready to be drawn from: small, and the same for all trials of a run.

    Attributes:
        text: How messages name what it comes from.
        label: The column to predict.
        columns: The columns to predict from, in their order.
        facts: What is known of these and of the label.
        groups: Where the rows are, in their order.
        split: How they are divided.
        mask: The file that says of each row whether it is validated on.
        digest: Tells these rows from any others.
        identity: What its source is defined by.
        noted: What its source notes besides.
        kind: Of its source.
        validated: How many rows are validated on.
        derived: Columns that are computed when they are read, in the order in which that can be done.
    """

    text: str
    label: str
    columns: tuple[str, ...]
    facts: Mapping[str, Facts]
    groups: tuple[Group, ...]
    split: Split
    mask: Path
    digest: str
    identity: Mapping[str, Any] = field(default_factory=dict)
    noted: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "file"
    validated: int = 0
    derived: tuple[Derived, ...] = ()

    @cached_property
    def rows(self) -> int:
        """How many there are."""
        return sum(group.rows for group in self.groups)

    @property
    def files(self) -> list[Path]:
        """All files that a trial needs."""
        return [*dict.fromkeys(Path(group.file) for group in self.groups), self.mask]

    @property
    def names(self) -> dict[Path, str]:
        """What each file is called where all of them travel together."""
        return {path: f"{index}-{path.name}" for index, path in enumerate(self.files)}

    @property
    def is_large(self) -> bool:
        """Whether rows are read when their batch is made: told by all columns, so that all arms are alike."""
        width = sum(one.width for name, one in self.facts.items() if name != self.label)
        return self.rows * width * 4 > LARGE_BYTES

    def moved(self, names: Mapping[Path, Path]) -> Table:
        """Return the table with its files elsewhere."""
        groups = [replace(one, file=str(names[Path(one.file)])) for one in self.groups]
        return replace(self, groups=tuple(groups), mask=names[self.mask])

    def to_json(self) -> dict[str, Any]:
        """Return what the journal has of it."""
        columns = [self.facts[name].to_json() for name in self.columns]
        told: dict[str, Any] = {"kind": self.kind, "source": self.text, "identity": self.identity}
        told |= {"digest": self.digest, "label": self.facts[self.label].to_json()}
        splits = {"train": self.rows - self.validated, "validation": self.validated}
        told |= {"columns": columns, "rows": splits, "split": self.mask.name, "noted": self.noted}
        return told | {"derive": {one.name: one.text for one in self.derived}}

    # ---- in a trial ----

    def frame(self, split: str, names: Sequence[str]) -> tuple[Any, Any]:
        """Return one split as it is: pandas' DataFrame of columns, a Series of labels.

        Raises:
            ValueError: If there is no such split.
            BadData: If it can't be read any more.
        """
        import numpy as np
        import pyarrow as pa

        chosen = self._chosen(split)
        table = pa.concat_tables([*self._read([*names, self.label], chosen)])
        # A column has one type in both splits, whichever has rows without a value.
        fields = [
            one.with_type(pa.float64())
            if pa.types.is_integer(one.type) and self.facts[one.name].missing
            else one
            for one in table.schema
        ]
        try:
            frame = table.cast(pa.schema(fields)).to_pandas()
        except pa.ArrowInvalid as error:
            message = (
                f"{self.text}: whole numbers beside missing ones become floats in pandas: {error}"
            )
            raise BadData(f"{message}; take data_gen.batch(), or leave the column out") from None
        for one in fields:
            if pa.types.is_boolean(one.type) and self.facts[one.name].missing:
                frame[one.name] = frame[one.name].astype(object)
        frame.index = np.flatnonzero(chosen)
        return frame[[*names]], frame[self.label]

    def first(self, rows: int, names: Sequence[str]) -> dict[str, Any]:
        """Return some columns of the first rows, whichever split has them, as Arrow arrays."""
        import pyarrow as pa

        parts, wanted = [], rows
        for group in self.groups:
            own = group.read(self._needed(names)).slice(0, wanted)
            parts.append(with_derived(own, self.derived, names).select([*names]))
            wanted -= own.num_rows
            if not wanted:
                break
        table = pa.concat_tables(parts)
        return {name: table[name].combine_chunks() for name in names}

    def arrays(self, split: str, names: Sequence[str]) -> tuple[Any, Any]:
        """Return one split as a matrix and a vector of labels, ready to train on.

        Args and errors are those of `frame`; for how columns become numbers see `encode`.
        """
        import numpy as np

        encoded = [
            self._encode(names)(part)
            for part in self._read([*names, self.label], self._chosen(split))
        ]
        matrices, labels = zip(*encoded, strict=True)
        return np.concatenate(matrices), np.concatenate(labels)

    def batched(self, split: str, names: Sequence[str]) -> Any:
        """Return what batches are made of: `arrays`, or, of a large table, the same as rows that are read by batches.

        Args and errors are those of `frame`.
        """
        if not self.is_large:
            return self.arrays(split, names)
        from dotrain.data.rows import TableRows

        needed = self._needed([*names, self.label])
        return TableRows(self.groups, needed, self._encode(names), chosen=self._chosen(split))

    def _encode(self, names: Sequence[str]) -> _Encode:
        return _Encode(
            tuple(self.facts[name] for name in names), self.facts[self.label], self.derived
        )

    def _chosen(self, split: str) -> Any:
        """Return which rows a split has, as booleans."""
        import numpy as np

        if split not in SPLITS:
            raise ValueError(f"unknown split '{split}'{did_you_mean(split, list(SPLITS))}")
        try:
            validated = np.load(self.mask, mmap_mode="r")
        except (OSError, EOFError, ValueError) as error:
            raise BadData(
                f"{self.mask} can't be read any more: {error}; it is made anew when the run goes on (dotrain resume)"
            ) from None
        return np.asarray(validated) if split == "validation" else ~validated

    def _needed(self, names: Sequence[str]) -> list[str]:
        """Return the columns that must be read for some, in the table's order."""
        wanted = with_needs(names, self.derived) - {one.name for one in self.derived}
        return [name for name in self.facts if name in wanted]

    def _read(self, names: Sequence[str], chosen: Any) -> Iterator[Any]:
        """Yield some columns, derived ones too, of some rows, group after group."""
        import pyarrow as pa

        at = 0
        needed = self._needed(names)
        for group in self.groups:
            own = chosen[at : at + group.rows]
            at += group.rows
            part = group.read(needed).filter(pa.array(own))
            yield with_derived(part, self.derived, names).select([*names])


@dataclass(frozen=True)
class _Encode:
    """Turns a table of columns into a matrix and labels."""

    facts: tuple[Facts, ...]
    label: Facts
    derived: tuple[Derived, ...]

    def __call__(self, table: Any) -> tuple[Any, Any]:
        from dotrain.data.encoding import encode, encode_labels

        names = [*(one.name for one in self.facts), self.label.name]
        whole = with_derived(table, self.derived, names)
        return encode(whole, self.facts), encode_labels(whole[self.label.name], self.label)


def with_derived(table: Any, derived: Sequence[Derived], names: Sequence[str]) -> Any:
    """Return a table with those of the derived columns that are asked for, or that these are computed from.

    Args:
        table: An Arrow table or record batch.
        derived: All, in the order in which they can be computed.
        names: Which columns are asked for.
    """
    import pyarrow as pa

    wanted = with_needs(names, derived)
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    for one in derived:
        if one.name in wanted and one.name not in table.column_names:
            arrays = {name: table[name].combine_chunks() for name in one.names}
            table = table.append_column(one.name, one.evaluate(arrays))
    return table
