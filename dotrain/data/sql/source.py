"""A table that is asked of a database."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

from dotrain.data.source import AbstractSource, BadData, Column
from dotrain.data.sql.address import Address, variable_of
from dotrain.data.sql.query import Query, refuse_twice
from dotrain.data.sql.reading import CantConnectError, batches_of, words
from dotrain.data.sql.ties import Ties
from dotrain.data.sql.types import settled

if TYPE_CHECKING:
    import pyarrow as pa

#: What Postgres calls a column that has no name.
_NO_NAME: Final = ("", "?column?")


@final
@dataclass(frozen=True)
class SqlSource(AbstractSource):
    """What one SELECT gives.

    It is read by ADBC where a driver of it is installed for the database, DuckDB by its own Arrow reader, anything
    else by SQLAlchemy with a cursor of the server; each way gives the same types.

    Attributes:
        query: A SELECT with an ORDER BY.
        connection: ``env:NAME``: the variable of the environment that holds the database's URL.
    """

    query: str
    connection: str

    kind: ClassVar[str] = "sql"
    requirement: ClassVar[str] = "dotrain[sql]"
    packages: ClassVar[tuple[str, ...]] = ("sqlglot", "pyarrow")

    @property
    def text(self) -> str:
        """Which database's query it is; what that says, stands in the config."""
        # A connection that is refused may be a URL.
        is_named = self.connection.startswith("env:") and "://" not in self.connection
        return f"the query at {self.connection if is_named else 'env:NAME'}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The variables of the environment that no other process gets."""
        return (variable_of(self.connection),)

    def declared(self) -> Sequence[Column] | None:
        """Return the names of its columns, if the query tells all; it connects to nothing.

        Raises:
            BadData: If the query or the connection can't be right, or a package is missing.
        """
        address = self._address()
        names = Query(self.query, address.kind).names
        return None if names is None else [Column(name) for name in names]

    def identity(self) -> Mapping[str, Any]:
        """Return the query, and of which kind its database is.

        Raises:
            BadData: If the connection can't be right.
        """
        return {"query": self.query, "database": self._address().kind}

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows, in the query's order.

        Raises:
            BadData: If they can't be had, there are none, or a column's type is none that a table takes.
        """
        address = self._address()
        query = Query(self.query, address.kind)
        names: list[str] = []
        rows = 0
        with _closing(batches_of(address, query)) as found:
            while (batch := self._next(found, address)) is not None:
                if not names:
                    names = _names(batch, query)
                    ties = Ties(names, query.keys(names))
                if batch.num_rows:
                    made = settled(batch.rename_columns(names), rows)
                    ties.check(made)
                    yield made
                    rows += batch.num_rows
        if not rows:
            raise BadData("the query gives no rows", "sql")

    def _next(self, found: Iterator[pa.RecordBatch], address: Address) -> pa.RecordBatch | None:
        """Return the next batch, or None; what a driver raises is told without secrets."""
        try:
            return next(found, None)
        except BadData as error:
            message, key = str(error), error.key
        except CantConnectError as error:
            message = f"the database at {self.connection} can't be reached: {error}"
            key = ("connection",)
        except Exception as error:
            message, key = f"the database at {self.connection} says: {words(error)}", ("sql",)
        # Out here the driver's exception isn't the context of this one, where a log could find it.
        raise BadData(address.cleaned(message), *key)

    def _address(self) -> Address:
        address = Address(variable_of(self.connection))
        for name in (*address.packages(), "pyarrow"):
            if not find_spec(name):
                package = name.replace("adbc_driver_", "adbc-driver-")
                why = f"a database of {address.kind} is read with {package}, which isn't installed"
                raise BadData(f"{why}; pip install {package}", "connection")
        return address


@contextmanager
def _closing(found: Generator[pa.RecordBatch]) -> Iterator[Iterator[pa.RecordBatch]]:
    """Close a connection when its rows have come, or aren't wanted any more; what a driver says to that is no matter."""
    try:
        yield found
    finally:
        with suppress(Exception):
            found.close()


def _names(batch: pa.RecordBatch, query: Query) -> list[str]:
    """Return how the columns are called: as the query says where it says all, else as the database does."""
    found = list(batch.schema.names)
    if query.names is not None and len(query.names) == len(found):
        return list(query.names)
    for number, name in enumerate(found, 1):
        if name in _NO_NAME:
            message = f"the query has no name for its column {number}: write AS NAME behind it"
            raise BadData(message, "sql")
    refuse_twice(found)
    return found
