"""Domains by name, read as a mapping is."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView

from dotrain.space.base import Domain


class ByName:
    """Domains, by the names of their parameters.

    No `Mapping` of the standard library: two that have the same domains needn't be equal, and more than
    names may be asked to lie in one.

    Attributes:
        domains: All, by name, in the order they were given.
    """

    domains: dict[str, Domain]

    def keys(self) -> KeysView[str]:
        """Return the names."""
        return self.domains.keys()

    def values(self) -> ValuesView[Domain]:
        """Return the domains."""
        return self.domains.values()

    def items(self) -> ItemsView[str, Domain]:
        """Return the names, each with its domain."""
        return self.domains.items()

    def __getitem__(self, name: str) -> Domain:
        return self.domains[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.domains)

    def __len__(self) -> int:
        return len(self.domains)
