"""Which rows are validated on: by chance, by groups, by time; the same in all trials, whatever their seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dotrain.data.source import BadData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLITS = ("train", "validation")
#: Times in text whose order is that of their letters, where they are all of one length.
_ISO = r"^\d{4}-\d{2}(-\d{2}([T ]\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+]00:00)?)?)?$"


@dataclass(frozen=True)
class Split:
    """How rows are divided.

    Attributes:
        validation: The share of the rows to validate on, between 0 and 1.
        by: A column; the rows of each of its values go to one side together.
        time: A column; the last rows by it are validated on, and none of the same moment is trained on.
        stratify: Whether each label has its share on both sides.
    """

    validation: float = 0.2
    by: str = ""
    time: str = ""
    stratify: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise ValueError(f"validation: expected between 0 and 1, got {self.validation}")

    @property
    def named(self) -> dict[str, str]:
        """The columns that it looks at, besides the label's, by what they are for."""
        return {key: name for key, name in (("by", self.by), ("time", self.time)) if name}

    @property
    def columns(self) -> tuple[str, ...]:
        """The same columns."""
        return tuple(self.named.values())


def validation_rows(
    split: Split, rows: int, columns: dict[str, Any], labels: Any
) -> NDArray[np.bool_]:
    """Return which rows are validated on.

    Args:
        split: How.
        rows: How many there are.
        columns: Those that the split looks at, as Arrow arrays.
        labels: The label's, if it is to be the same on both sides.

    Raises:
        BadData: If nothing would be left on one side.
    """
    import numpy as np

    if rows < 2:
        raise BadData(f"{rows} rows are too few to split")
    if split.time:
        chosen = _last(columns[split.time], split)
    elif split.by:
        chosen = _groups(_codes(columns[split.by]), split)
    elif split.stratify:
        chosen = np.zeros(rows, bool)
        codes = _codes(labels)
        for code in range(codes.max() + 1):
            own = np.flatnonzero(codes == code)
            if len(own) < 2:
                value = labels[int(own[0])].as_py()
                raise BadData(
                    f"only one row has the label {value!r}: it can't be on both sides",
                    "split",
                    "stratify",
                )
            chosen[own[_some(len(own), split.validation)]] = True
    else:
        chosen = np.zeros(rows, bool)
        chosen[_some(rows, split.validation)] = True
    if chosen.all() or not chosen.any():
        side = "trained" if chosen.all() else "validated"
        raise BadData(
            f"no row would be {side} on: choose another share, or another column", "split"
        )
    return chosen


def _some(size: int, share: float) -> NDArray[np.intp]:
    """Return some of `size` rows, one at least and never all."""
    import numpy as np

    first = min(max(round(size * share), 1), size - 1)
    # The only generator of NumPy's whose numbers are the same in all of its versions.
    chosen: NDArray[np.intp] = np.random.RandomState(0).permutation(size)[:first]
    return chosen


def _codes(column: Any) -> NDArray[np.intp]:
    """Number the values in the order in which they come first; a missing one is a value."""
    import numpy as np

    codes = plain(column).dictionary_encode("encode").indices
    return np.asarray(codes).astype(np.intp)


def plain(column: Any) -> Any:
    """Return an Arrow column with its values, where it holds their numbers in a dictionary."""
    from pyarrow import types

    is_coded = types.is_dictionary(column.type)
    return column.cast(column.type.value_type) if is_coded else column


def _refuse_other_times(column: Any, name: str) -> None:
    """Refuse text that isn't in the order of time when it is in the order of its letters."""
    import pyarrow.compute as pc

    lengths = pc.unique(pc.utf8_length(column))
    is_iso = pc.match_substring_regex(column, _ISO)
    if len(lengths) > 1 or not pc.all(is_iso).as_py():
        other = (
            column[int(pc.index(is_iso, False).as_py())]
            if not pc.all(is_iso).as_py()
            else column[0]
        )
        raise BadData(
            f"column '{name}' is text such as {other.as_py()!r}, whose order isn't that of time: write times as "
            "2026-01-31 or 2026-01-31T09:00:00, all in one form, or keep them as times or numbers",
            "split",
            "time",
        )


def _groups(codes: NDArray[np.intp], split: Split) -> NDArray[np.bool_]:
    import numpy as np

    sizes = np.bincount(codes)
    wanted = split.validation * len(codes)
    order = np.random.RandomState(0).permutation(len(sizes))
    # As many as bring it next to the share.
    before = np.concatenate([[0], np.cumsum(sizes[order])])
    count = int(np.abs(before - wanted).argmin())
    count = min(max(count, 1), max(len(sizes) - 1, 1))
    return np.isin(codes, order[:count])


def _last(column: Any, split: Split) -> NDArray[np.bool_]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain(column)
    missing = pc.sum(pc.is_null(column, nan_is_null=True)).as_py()
    if missing:
        message = f"column '{split.time}': {missing} of {len(column)} have no time"
        raise BadData(message, "split", "time")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        _refuse_other_times(column, split.time)
    order = np.asarray(pc.sort_indices(column))
    first = min(max(len(order) - round(len(order) * split.validation), 1), len(order) - 1)
    moment = column[int(order[first])]
    return np.asarray(pc.greater_equal(column, moment))
