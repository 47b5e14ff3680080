"""Numbers in a row, at eight bytes each: a run may hold millions of them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, MutableSequence
from typing import final, overload


@final
class Floats(MutableSequence[float]):
    """What a list of the same numbers is, and equal to it; a slice is a list."""

    __slots__ = ("_values",)

    def __init__(self, values: Iterable[float] = ()) -> None:
        self._values = array("d", values)

    @overload
    def __getitem__(self, at: int) -> float: ...
    @overload
    def __getitem__(self, at: slice) -> list[float]: ...
    def __getitem__(self, at: int | slice) -> float | list[float]:
        found = self._values[at]
        return found if isinstance(found, float) else found.tolist()

    @overload
    def __setitem__(self, at: int, value: float) -> None: ...
    @overload
    def __setitem__(self, at: slice, value: Iterable[float]) -> None: ...
    def __setitem__(self, at: int | slice, value: float | Iterable[float]) -> None:
        if isinstance(at, slice):
            assert not isinstance(value, int | float)
            self._values[at] = array("d", value)
        else:
            self._values[at] = value  # type: ignore[assignment]

    def __delitem__(self, at: int | slice) -> None:
        del self._values[at]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[float]:
        return iter(self._values)

    def insert(self, index: int, value: float) -> None:
        """Put a number before another."""
        self._values.insert(index, value)

    def append(self, value: float) -> None:
        """Add a number at the end."""
        self._values.append(value)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Floats):
            return self._values == other._values
        return self._values.tolist() == other if isinstance(other, list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._values.tolist())
