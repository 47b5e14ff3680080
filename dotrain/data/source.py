"""The interface of what a table comes from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dotrain.errors import UsageError


class BadData(UsageError):
    """The data can't be had, or aren't what was expected.

    Attributes:
        key: What of the config's ``data:`` it is about, as a path below it.
    """

    def __init__(self, message: str, *key: str | int) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True)
class Column:
    """What is known of a column without reading its rows.

    Attributes:
        name: Its name.
        type: Arrow's word for its type; ``""`` if only reading tells.
        view: The feature view that it is of, or ``""``.
        derived_from: Other columns of the table that it is computed from; of a view's that isn't in the table,
            ``view:column``.
        beside: Whether it says which row it is, or when: it isn't predicted from unless it is asked for by name.
    """

    name: str
    type: str = ""
    view: str = ""
    derived_from: tuple[str, ...] = ()
    beside: bool = False


class AbstractSource(ABC):
    """Where a table comes from; a frozen dataclass. Nothing heavy is imported before it is read."""

    #: What it is, as the config's key has it.
    kind: ClassVar[str]
    #: What is imported to read it.
    packages: ClassVar[tuple[str, ...]] = ("pyarrow",)
    #: What pip is told to install these.
    requirement: ClassVar[str] = "dotrain[tabular]"

    @property
    @abstractmethod
    def text(self) -> str:
        """How messages and pages name it; never with a secret."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The variables of the environment that it is read with, which no other process gets."""
        return ()

    @abstractmethod
    def declared(self) -> Sequence[Column] | None:
        """Return what files, schemas and registries show of its columns; connects to nothing.

        Returns:
            All columns that can be asked for, the label among them; None if only reading tells.

        Raises:
            BadData: If it can be seen already that they can't be had.
        """

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return what defines the data and can be had without connecting, as JSON can hold it.

        It stands in the journal, and must be the same when a run goes on. Asked before a run only, and before
        `declared` there: what makes the data ready, if people say so, is done here.

        Raises:
            BadData: If it can't be told.
        """

    def noted(self) -> Mapping[str, Any]:
        """Return what stands in the journal besides, and may be another when a run goes on."""
        return {}

    @abstractmethod
    def batches(self) -> Iterator[Any]:
        """Read all rows, in their order; asked once a run, by the driver, before anything starts.

        Yields:
            Arrow record batches, all of one schema.

        Raises:
            BadData: If they can't be had.
        """
