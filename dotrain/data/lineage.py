"""Which columns are computed from which: in a feature store, or by `derive:`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import final

from dotrain.data.derive import Derived
from dotrain.data.source import Column


@final
class Lineage:
    """What the columns of a table are computed from."""

    def __init__(self, columns: Sequence[Column], derived: Sequence[Derived] = ()) -> None:
        """Take it from what is declared.

        Args:
            columns: Of the source.
            derived: Computed from these, and from each other.
        """
        self._from: Mapping[str, Collection[str]] = {
            **{column.name: column.derived_from for column in columns},
            **{one.name: tuple(one.names) for one in derived},
        }

    def needs(self, name: str) -> frozenset[str]:
        """Return all columns that one is computed from, directly or by others."""
        found: set[str] = set()
        waiting = [*self._from.get(name, ())]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self._from.get(one, ())
        return frozenset(found)

    def goes_with(
        self, left_out: Collection[str], *, view: str = "", keep_derived: bool = False
    ) -> tuple[str, ...]:
        """Return which further columns go when some are left out, in the table's order.

        Args:
            left_out: These.
            view: All of this feature view, also what of it isn't in the table itself.
            keep_derived: What is computed from them stays, whatever it tells of them.
        """
        if keep_derived:
            return ()
        gone = set(left_out)
        if view:
            every = {one for needed in self._from.values() for one in needed}
            gone |= {one for one in every if one.startswith(f"{view}:")}
        return tuple(name for name in self._from if name not in gone and self.needs(name) & gone)
