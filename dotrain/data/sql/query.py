"""What a query's text tells: that it only reads, in which order rows come, and the names of its columns."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final, NoReturn, final

from dotrain.data.source import BadData

#: The dialects of sqlglot for databases that SQLAlchemy names otherwise.
_DIALECTS: Final = {
    "postgresql": "postgres",
    "mariadb": "mysql",
    "mssql": "tsql",
    "awsathena": "athena",
}
#: Databases of which it is known how they name a column that is asked for without AS: Postgres by its small letters;
#: of the others it is asked to be as it is written (SQLite promises nothing else).
_NAMED: Final = ("sqlite", "duckdb", "postgresql")

#: Of an expression in a message.
_MOST_SHOWN: Final = 60


@final
class Query:
    """One SELECT whose rows come in one order.

    Attributes:
        text: As it is written.
        names: Of its columns, if the text tells them all.
    """

    def __init__(self, text: str, kind: str) -> None:
        """Read it.

        Args:
            text: The query.
            kind: The database's, as of `Address`.

        Raises:
            BadData: If it isn't one SELECT with an ORDER BY, has a column without a name, or two of one name.
        """
        if not find_spec("sqlglot"):
            _refuse("is read with sqlglot, which isn't installed; pip install 'dotrain[sql]'")
        self.text = text
        self._kind = kind
        self._dialect = _dialect(kind)
        try:
            tree = self._parse()
            self._check(tree)
            self.names = self._names(tree)
            self._keys = _keys(tree)
        except RecursionError:
            _refuse("is too deeply nested")

    def keys(self, names: Sequence[str]) -> list[int] | None:
        """Return which of its columns it orders by, if all are among them.

        Args:
            names: Of its columns.
        """
        found = []
        for key in self._keys or ():
            if isinstance(key, int):
                found.append(key - 1)
                continue
            at = [i for i, name in enumerate(names) if name.lower() == key.lower()]
            if len(at) != 1:
                return None
            found += at
        return found if found and all(i < len(names) for i in found) else None

    def to_run(self) -> str:
        """Return it as it is given to the database: one statement, without what ends it.

        SQLite takes a misspelt name in double quotes for a text, which every row would then hold: names are put into
        backticks there, which it takes for names alone.
        """
        import sqlglot

        text, end = self.text, len(self.text)
        tokens = sqlglot.tokenize(text, read=self._dialect)
        for token in reversed(tokens):
            if token.token_type.name == "SEMICOLON":
                end = token.start
            elif (
                self._kind == "sqlite"
                and token.token_type.name == "IDENTIFIER"
                and text[token.start] == '"'
            ):
                name = "`" + token.text.replace("`", "``") + "`"
                text = text[: token.start] + name + text[token.end + 1 :]
                end += len(name) - (token.end + 1 - token.start)
        return text[:end]

    def _parse(self) -> Any:
        import sqlglot
        from sqlglot.errors import SqlglotError

        try:
            with _quiet():
                trees = sqlglot.parse(self.text, read=self._dialect)
        except SqlglotError as error:
            fault: dict[str, Any] = next(iter(getattr(error, "errors", [])), {})
            where = (
                f" in line {fault['line']}, near '{fault['highlight']}'"
                if fault.get("line")
                else ""
            )
            said = str(fault.get("description") or error).rstrip(".")
            _refuse(f"can't be read{where}: {said}")
        found = [tree for tree in trees if tree is not None and type(tree).__name__ != "Semicolon"]
        if len(found) != 1 or found[0] is None:
            _refuse(f"expected one SELECT, found {len(found) or 'no'} statements")
        return found[0]

    def _check(self, tree: Any) -> None:
        from sqlglot import exp

        if not isinstance(tree, exp.Select | exp.SetOperation | exp.Subquery):
            found = self.text.split(maxsplit=1)[0].upper()
            _refuse(f"expected a SELECT, which only reads, found {found}")
        writes = tree.find(
            exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Create, exp.Drop
        )
        if writes or tree.find(exp.Lock):
            found = (writes.key if writes else "for update").upper()
            _refuse(f"expected a SELECT, which only reads, found {found} in it")
        order = tree.args.get("order")
        if order is None:
            _refuse(
                "expected an ORDER BY at its end: else rows come in any order, and what is split off and trained with "
                "would change from one run to the next; order by a key, such as ORDER BY id"
            )
        keys = [key.this if isinstance(key, exp.Ordered) else key for key in order.expressions]
        if any(key.find(exp.Rand, exp.Randn, exp.Uuid) for key in keys):
            _refuse("expected an ORDER BY that gives the same order each time, found one by chance")
        if all(_is_constant(key) for key in keys):
            _refuse(
                f"expected an ORDER BY of columns, found {order.sql(self._dialect)}, which orders nothing"
            )

        for key in keys:
            if not isinstance(key, exp.Column | exp.Literal):
                written = key.sql(self._dialect)
                written = written if len(written) <= _MOST_SHOWN else "..."
                _refuse(
                    f"orders by {written}, of which nobody can see whether two rows have the same: select it, "
                    f"{written} AS ordered_by, and write ORDER BY ordered_by, or order by a column"
                )
        self._refuse_chance(tree)

    def _refuse_chance(self, tree: Any) -> None:
        """Refuse what gives other rows each time, or may."""
        from sqlglot import exp

        if chance := tree.find(exp.Rand, exp.Randn, exp.Uuid, exp.TableSample):
            _refuse(f"gives other rows each time: {chance.sql(self._dialect)[:_MOST_SHOWN]}")
        for inner in tree.find_all(exp.Select):
            distinct = inner.args.get("distinct")
            is_first = distinct is not None and distinct.args.get("on") is not None
            if (
                inner is not tree
                and (inner.args.get("limit") or is_first)
                and not inner.args.get("order")
            ):
                _refuse(
                    "takes some rows of a subquery without an ORDER BY of its own: any of them, that is"
                )

    def _names(self, tree: Any) -> tuple[str, ...] | None:
        from sqlglot import exp

        while isinstance(tree, exp.Subquery):
            tree = tree.this
        names: list[str | None] = []
        for number, column in enumerate(tree.selects, 1):
            if column.is_star or isinstance(column, exp.Columns):
                names.append(None)
            elif isinstance(column, exp.Alias | exp.Column):
                names.append(self._folded(column))
            else:
                written = column.sql(self._dialect)
                if len(written) > _MOST_SHOWN:
                    written = "..."
                _refuse(f"has no name for its column {number}: write {written} AS NAME")
        refuse_twice([name for name in names if name is not None])
        if self._kind not in _NAMED or None in names or not names:
            return None
        return tuple(name for name in names if name is not None)

    def _folded(self, column: Any) -> str:
        name = column.args.get("alias") or column.this
        text = str(name.name)
        return text.lower() if self._kind == "postgresql" and not name.args.get("quoted") else text


def refuse_twice(names: Sequence[str]) -> None:
    """Refuse two columns of one name: which is meant, nobody could tell.

    Raises:
        BadData: With the names.
    """
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        _refuse(
            f"gives two columns of one name: {', '.join(twice)}; name one of them otherwise: {twice[0]} AS other_name"
        )


def _keys(tree: Any) -> list[str | int] | None:
    """Return the keys of its ORDER BY, if each is the name of a column or its place."""
    from sqlglot import exp

    found: list[str | int] = []
    for ordered in tree.args["order"].expressions:
        key = ordered.this if isinstance(ordered, exp.Ordered) else ordered
        # With a table in front it is that one's, whatever is called so in the result.
        if isinstance(key, exp.Column) and not key.table:
            found.append(key.name)
        elif isinstance(key, exp.Literal) and not key.is_string and key.name.isdigit():
            found.append(int(key.name))
        else:
            return None
    return found


def _is_constant(key: Any) -> bool:
    """Whether a key of ORDER BY is the same in every row; a number is the place of a column."""
    from sqlglot import exp

    if isinstance(key, exp.Literal):
        return bool(key.is_string)
    return not key.find(exp.Column, exp.Var, exp.Query)


def _dialect(kind: str) -> str | None:
    from sqlglot.dialects.dialect import Dialect

    name = _DIALECTS.get(kind, kind)
    return name if Dialect.get(name) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep sqlglot from logging what is refused with a message of our own."""
    logger = logging.getLogger("sqlglot")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _refuse(why: str) -> NoReturn:
    raise BadData(why if why.startswith("expected") else f"the query {why}", "sql")
