"""What is known of a table's columns once its rows were read: kinds, means, categories; of the training rows only."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

from dotrain.data.source import BadData, Column

#: What a column is taken for.
Kind = Literal["number", "category", "other"]

#: So many rows are measured at once: sums don't depend on how a source cuts its batches.
CHUNK_ROWS = 1 << 16
#: A column of more values isn't encoded: its matrix would be as wide.
MOST_VALUES = 10_000
INFINITE = "holds infinite numbers: mend them, or leave it out (data.columns)"
_NOT_ENCODED = (
    "holds neither numbers, text nor booleans: leave it out (data.columns), or read the table in a data function of "
    "your own"
)


@dataclass(frozen=True)
class Facts:
    """What is known of one column.

    Attributes:
        name: Its name.
        type: Arrow's word for its type.
        kind: Whether it is scaled, or becomes a column of zeros and ones for each value.
        missing: How many values are, in all rows.
        mean: Of a number, over the training rows that have one.
        deviation: Its standard deviation there, the missing ones taken for the mean; 0 if all are alike.
        values: Of a category, what the training rows hold, sorted.
        refusal: Why it can't be encoded, or ``""``.
        view: The feature view that it is of, or ``""``.
        derived_from: Other columns that it is computed from.
    """

    name: str
    type: str
    kind: Kind
    missing: int = 0
    mean: float = 0.0
    deviation: float = 0.0
    values: tuple[Any, ...] = ()
    refusal: str = ""
    view: str = ""
    derived_from: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many numbers it becomes."""
        return 1 if self.kind == "number" else len(self.values)

    def to_json(self) -> dict[str, Any]:
        """Return it for the journal."""
        told: dict[str, Any] = {"name": self.name, "type": self.type, "kind": self.kind}
        told |= {"missing": self.missing}
        if self.kind == "number":
            told |= {"mean": self.mean, "deviation": self.deviation}
        elif self.kind == "category":
            told |= {"values": [*self.values]}
        told |= {"refusal": self.refusal} if self.refusal else {}
        told |= {"view": self.view} if self.view else {}
        return told | ({"derived_from": [*self.derived_from]} if self.derived_from else {})


def kind_of(arrow_type: Any) -> Kind:
    """Return what a column of a type is taken for."""
    from pyarrow import types

    if (
        types.is_integer(arrow_type)
        or types.is_floating(arrow_type)
        or types.is_decimal(arrow_type)
    ):
        return "number"
    if types.is_dictionary(arrow_type):
        return "other" if kind_of(arrow_type.value_type) == "other" else "category"
    texts = (types.is_string, types.is_large_string, types.is_string_view)
    if any(is_one(arrow_type) for is_one in (*texts, types.is_boolean, types.is_null)):
        return "category"
    return "other"


def _kind(field: Any, said: Kind | None) -> Kind:
    """Return what a column is taken for: as people say, if that can be."""
    from pyarrow import types

    found = kind_of(field.type)
    if said is None or said == found:
        return found
    takes = found == "number" and not types.is_decimal(field.type)
    if said == "number":
        takes = types.is_boolean(field.type)
    if not takes:
        what = "numbers, text and booleans" if said == "category" else "numbers and booleans"
        message = (
            f"column '{field.name}' is {field.type}, and only {what} can be taken for a {said}"
        )
        raise BadData(message, "types", field.name)
    return said


def in_chunks(batches: Iterable[Any], rows: int = CHUNK_ROWS) -> Iterator[Any]:
    """Yield tables of `rows` rows each, the last one of fewer, whatever the size of the batches."""
    import pyarrow as pa

    held: list[Any] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += batch.num_rows
        while count >= rows:
            table = pa.Table.from_batches(held)
            yield table.slice(0, rows).combine_chunks()
            held = table.slice(rows).to_batches()
            count -= rows
    if count:
        yield pa.Table.from_batches(held).combine_chunks()


@final
class Measure:
    """Measures the columns of a table, chunk after chunk."""

    def __init__(
        self,
        schema: Any,
        columns: Iterable[Column],
        kinds: Mapping[str, Kind],
        categories: Collection[str] = (),
    ) -> None:
        """Begin.

        Args:
            schema: The table's Arrow schema.
            columns: What its source says of its columns.
            kinds: What people say that columns are.
            categories: Those that their source has declared as such.

        Raises:
            BadData: If one can't be what people say.
        """
        told = {column.name: column for column in columns}
        self._columns: dict[str, _Number | _Category | _Other] = {}
        for field in schema:
            column = told.get(field.name, Column(field.name))
            kind = _kind(field, kinds.get(field.name))
            if field.name in categories and field.name not in kinds and kind != "other":
                kind = "category"
            facts = Facts(field.name, str(field.type), kind, view=column.view)
            facts = replace(facts, derived_from=column.derived_from)
            makers: dict[Kind, type[_Number | _Category | _Other]] = {
                "number": _Number,
                "category": _Category,
                "other": _Other,
            }
            self._columns[field.name] = makers[kind](facts)

    def add(self, table: Any, training: Any) -> None:
        """Measure a chunk.

        Args:
            table: Its columns.
            training: A NumPy array of booleans: which of its rows are trained on.
        """
        for name, column in self._columns.items():
            column.add(table[name].combine_chunks(), training)

    def facts(self) -> dict[str, Facts]:
        """Return what was found, by column."""
        return {name: column.facts() for name, column in self._columns.items()}


def numbers_of(array: Any) -> Any:
    """Return an Arrow array of numbers as float64, what is missing as NaN."""
    import numpy as np
    import pyarrow as pa

    return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))


class _Number:
    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._missing = self._count = self._present = 0
        self._mean = self._squares = 0.0
        self._least: Any = None
        self._most: Any = None
        self._refusal = ""

    def add(self, array: Any, training: Any) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        try:
            numbers = numbers_of(array)
        except pa.ArrowException:
            raise BadData(
                f"column '{self._facts.name}' is no number everywhere: it holds {array.type}",
                "types",
            ) from None
        missing = np.isnan(numbers)
        self._missing += int(missing.sum())
        if np.isinf(numbers).any():
            self._refusal = INFINITE
            return
        self._count += int(training.sum())
        present = numbers[training & ~missing]
        if not present.size:
            return
        # Chan, Golub, LeVeque: Updating formulae and a pairwise algorithm for computing sample variances, 1979, (2.1).
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(present.mean())
            squares = float(((present - mean) ** 2).sum())
        total = self._present + present.size
        delta = mean - self._mean
        self._squares += squares + delta * delta * self._present * present.size / total
        self._mean += delta * present.size / total
        self._present = total
        # As they are stored: large whole numbers may be one as floats.
        ends = pc.min_max(array.filter(pa.array(training & ~missing))).as_py()
        self._least = ends["min"] if self._least is None else min(self._least, ends["min"])
        self._most = ends["max"] if self._most is None else max(self._most, ends["max"])

    def facts(self) -> Facts:
        # A constant column has nothing to scale but rounding errors.
        varies = self._present and self._least != self._most
        deviation = math.sqrt(self._squares / self._count) if varies else 0.0
        if varies and not self._refusal and not (math.isfinite(deviation) and deviation > 0):
            self._refusal = (
                f"goes from {self._least} to {self._most}, which floats of 64 bits can't scale: write other units, "
                "or read the table in a data function of your own"
            )
            return replace(self._facts, missing=self._missing, refusal=self._refusal)
        found = replace(self._facts, missing=self._missing, refusal=self._refusal)
        return replace(found, mean=self._mean, deviation=deviation)


class _Category:
    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._missing = 0
        self._values: set[Any] = set()
        self._refusal = ""

    def add(self, array: Any, training: Any) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_floating(array.type):
            array = pc.if_else(pc.is_nan(array), None, array)
        self._missing += array.null_count
        if self._refusal:
            return
        rows = pc.drop_null(array.filter(pa.array(training)))
        self._values.update(pc.unique(rows).to_pylist())
        if len(self._values) > MOST_VALUES:
            self._refusal = (
                f"holds more than {MOST_VALUES:,} different values, each of which would become a column: leave it "
                "out (data.columns), or read the table in a data function of your own"
            )
            self._values.clear()

    def facts(self) -> Facts:
        try:
            values = sorted(self._values)
        except TypeError:  # of several types
            values = sorted(self._values, key=str)
        found = replace(self._facts, missing=self._missing, values=tuple(values))
        return replace(found, refusal=self._refusal)


class _Other:
    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._missing = 0

    def add(self, array: Any, training: Any) -> None:
        self._missing += array.null_count

    def facts(self) -> Facts:
        return replace(self._facts, missing=self._missing, refusal=_NOT_ENCODED)
