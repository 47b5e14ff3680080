"""How rows come from a database: as Arrow where a driver gives it, else from a cursor, a chunk at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from dotrain.data.source import BadData
from dotrain.data.sql import postgres, sqlite
from dotrain.data.sql.address import Address
from dotrain.data.sql.cursor import CHUNK, batches_from, postgres_types
from dotrain.data.sql.query import Query

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

#: Lines of a driver's message that point into the one above.
_POINTERS: Final = frozenset("^ ")


class CantConnectError(Exception):
    """A database can't be reached; what its driver says of it."""


def batches_of(address: Address, query: Query) -> Generator[pa.RecordBatch]:
    """Yield a query's rows, of the types that its database's driver gives.

    The first batch may be without rows. All is read within one transaction that writes nothing.

    Raises:
        BadData: If a column's values are of several types.
        CantConnectError: If the database can't be reached.
        Exception: Whatever else a driver raises. Any message may show the URL.
    """
    if address.kind == "duckdb":
        yield from _duckdb(address, query)
    elif address.kind == "sqlite":
        yield from _sqlite(address, query)
    elif address.adbc:
        with _arrow_connection(address) as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(query.to_run())
            reader = cursor.fetch_record_batch()
            postgres.check_types(reader.schema)
            yield from _with_first(reader)
    else:
        with (
            _cursor_connection(address) as connection,
            closing(connection.exec_driver_sql(query.to_run())) as result,
        ):
            types = postgres_types(result) if address.kind == "postgresql" else None
            yield from batches_from(result, types)


def _with_first(reader: Any) -> Iterator[pa.RecordBatch]:
    """Yield a reader's batches, after one without rows that tells its columns."""
    import pyarrow as pa

    yield pa.RecordBatch.from_pylist([], schema=reader.schema)
    yield from reader


def _duckdb(address: Address, query: Query) -> Iterator[pa.RecordBatch]:
    import duckdb

    is_there = not address.file.startswith((":memory:", "md:"))
    with _reached():
        found = duckdb.connect(address.file, read_only=is_there, config=dict(address.options))
    with closing(found) as connection:
        relation = connection.sql(query.to_run())
        if relation is None:
            raise BadData("the query gives no rows", "sql")
        make = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
        yield from _with_first(make(CHUNK))


def _sqlite(address: Address, query: Query) -> Iterator[pa.RecordBatch]:
    """Each value of SQLite has a type of its own: what a column holds is looked up before, in the same transaction."""
    text = query.to_run()
    if address.adbc:
        with _arrow_connection(address) as connection, connection.cursor() as cursor:
            # It takes the types from the rows of its first batch.
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(CHUNK)})
            cursor.execute(text)
            reader = cursor.fetch_record_batch()

            def rows(other: str) -> list[tuple[Any, ...]]:
                with connection.cursor() as another:
                    another.execute(other)
                    return list(another.fetchall())

            types = sqlite.types_of(rows, text, reader.schema.names)
            if all(map(sqlite.holds, reader.schema.types, types)):
                for batch in _with_first(reader):
                    yield sqlite.cast(batch, types)
                return
    with (
        _cursor_connection(address) as connection,
        closing(connection.exec_driver_sql(text)) as result,
    ):

        def tuples(other: str) -> list[tuple[Any, ...]]:
            return list(map(tuple, connection.exec_driver_sql(other)))

        types = sqlite.types_of(tuples, text, list(result.keys()))
        yield from batches_from(result, types)


@contextmanager
def _arrow_connection(address: Address) -> Iterator[Any]:
    module = import_module(f"{address.adbc}.dbapi")
    with _reached():
        found = module.connect(_file_uri(address) if address.is_file else address.url())
    with closing(found) as connection:
        yield connection


@contextmanager
def _cursor_connection(address: Address) -> Iterator[sa.Connection]:
    import sqlalchemy as sa

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(_file_uri(address), uri=True)

    own: Mapping[str, Any] = {"creator": connect} if address.kind == "sqlite" else {}
    url = "sqlite://" if address.kind == "sqlite" else address.url()
    with _reached():
        engine = sa.create_engine(url, poolclass=sa.pool.NullPool, hide_parameters=True, **own)
        found = engine.connect()
    options: dict[str, Any] = {"stream_results": True, "no_parameters": True}
    if address.kind == "postgresql":
        options["postgresql_readonly"] = True
    with found as connection:
        yield connection.execution_options(**options)


@contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise CantConnectError(f"its driver, {error.name}, isn't installed") from None
    except Exception as error:
        raise CantConnectError(words(error)) from None


def words(error: Exception) -> str:
    """Return what a driver says in one line, without what points into a line above, and where SQLAlchemy explains."""
    text = str(getattr(error, "orig", None) or error) or type(error).__name__
    lines = [line.strip() for line in text.splitlines()]
    return " ".join(line for line in lines if line and not set(line) <= _POINTERS)


def _file_uri(address: Address) -> str:
    return f"file:{quote(address.file)}?mode=ro"
