"""Columns that are computed from others: ``derive: {family: "sibsp + parch", is_child: "age < 16"}``.

Expressions are read as those between hyperparameters are (`dotrain.space.expressions`) and never run. What they mean is
worked out here and not there, since it isn't the same: all rows at once instead of one configuration, and a value may
be missing. What is computed from a missing value is missing, but for what is certain all the same: ``a or b`` is true
where one of them is. A result that is no finite number (a division by 0, ``log(0)``, ``sqrt(-1)``, ``exp(1000)``) is
missing too, as in a database: one such row of many shouldn't end a run, and `dotrain data` counts them.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, final

from dotrain.data import vectors
from dotrain.data.source import BadData
from dotrain.errors import did_you_mean
from dotrain.space.expressions import read_expression, read_literal
from dotrain.space.values import SpaceError

if TYPE_CHECKING:
    import pyarrow as pa

    from dotrain.data.vectors import Vector

_WHAT: Final = (
    "a derived column takes columns, numbers, text, + - * / // % **, comparisons, in, and, or, not, min, max, abs, log, "
    "sqrt, exp, round, where(condition, yes, no), is_missing(column), column('a name with spaces')"
)
_ARITHMETIC: Final[Mapping[type[ast.AST], str]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
_COMPARISONS: Final[Mapping[type[ast.AST], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
#: What each function takes, at least and at most.
_ARGUMENTS: Final[Mapping[str, tuple[int, float]]] = {
    **dict.fromkeys(("abs", "log", "sqrt", "exp", "round", "is_missing", "column"), (1, 1)),
    **dict.fromkeys(("min", "max"), (2, math.inf)),
    "where": (3, 3),
}


@final
@dataclass(frozen=True)
class Derived:
    """One column that is computed from others.

    Attributes:
        name: Its name.
        text: The expression.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        """Refuse what can't be read.

        Raises:
            BadData: With what is wrong.
        """
        if not self.names:
            self._refuse("it names no column")

    def __getstate__(self) -> dict[str, str]:
        return {"name": self.name, "text": self.text}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns that it needs, in the order in which they are named."""
        try:
            return tuple(dict.fromkeys(_names(self._tree)))
        except SpaceError as error:
            self._refuse(str(error))
        except RecursionError:
            self._refuse("too deeply nested")
        raise AssertionError

    def evaluate(self, columns: Mapping[str, pa.Array]) -> pa.Array:
        """Compute it.

        Args:
            columns: Those that it needs, all of one length; whole numbers are int64 in what is computed, others float64.

        Returns:
            Of the same length: int64, float64, bool or string.

        Raises:
            BadData: If a column is of another kind than the expression needs, or a whole number grows beyond 64 bits.
        """
        try:
            rows = len(next(columns[name] for name in self.names))
            given = {name: vectors.load(columns[name], name) for name in self.names}
            return _Worker(given, rows).work(self._tree).array
        except vectors.Unfit as error:
            self._refuse(str(error))
        except RecursionError:
            self._refuse("too deeply nested")
        raise AssertionError

    @cached_property
    def _tree(self) -> ast.expr:
        return read_expression(self.text)

    def _refuse(self, why: str) -> None:
        raise BadData(f"'{self.name}' ({self.text.strip()}): {why}", "derive", self.name)


def order(
    derived: Sequence[Derived], known: Sequence[str] | None, label: str = ""
) -> tuple[Derived, ...]:
    """Return derived columns in an order in which each can be computed: one may need another.

    Args:
        derived: In the config's order, which is kept where it can be.
        known: The columns of the table; None if only reading tells, and names aren't looked at.
        label: The column to predict; nothing but itself may be computed from it.

    Raises:
        BadData: If one has the name of a column, needs one that isn't there, itself or the label.
    """
    by_name = {one.name: one for one in derived}
    there = [*(known or ()), *by_name]
    for one in derived:
        if one.name in (known or ()):
            _refuse(one, "there is a column of this name already")
        for name in one.names if known is not None else ():
            if name not in there:
                others = [other for other in there if other != one.name]
                hint = did_you_mean(name, others)
                if not hint.startswith("; did"):
                    hint += "; text stands in quotes"
                _refuse(one, f"there is no column '{name}'{hint}")
    done: dict[str, Derived] = {}
    waiting = list(derived)
    while waiting:
        ready = [one for one in waiting if all(n in done or n not in by_name for n in one.names)]
        if not ready:
            circle = _circle(waiting[0], by_name, done)
            _refuse(by_name[circle[0]], f"needs itself: {' -> '.join([*circle, circle[0]])}")
        done[ready[0].name] = ready[0]
        waiting.remove(ready[0])
    if label:
        for one in done.values():
            if one.name != label and label in _all_needed(one, by_name):
                _refuse(
                    one, f"it needs '{label}', the label: whoever is to predict that may not see it"
                )
    return tuple(done.values())


def _circle(one: Derived, by_name: Mapping[str, Derived], done: Mapping[str, Derived]) -> list[str]:
    path: list[str] = []
    while one.name not in path:
        path.append(one.name)
        one = next(by_name[name] for name in one.names if name in by_name and name not in done)
    return path[path.index(one.name) :]


def _all_needed(one: Derived, by_name: Mapping[str, Derived]) -> set[str]:
    found = set(one.names)
    for name in one.names:
        if name in by_name:
            found |= _all_needed(by_name[name], by_name)
    return found


def _refuse(one: Derived, why: str) -> None:
    raise BadData(f"'{one.name}' ({one.text.strip()}): {why}", "derive", one.name)


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the columns that an expression names.

    Raises:
        SpaceError: If there is something in it that has no place there.
    """
    match node:
        case ast.Name(id=name):
            yield name
        case ast.Constant():
            read_literal(node)
        case ast.BoolOp(values=parts):
            for part in parts:
                yield from _names(part)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=part):
            yield from _names(part)
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _ARITHMETIC:
            yield from _names(left)
            yield from _names(right)
        case ast.Compare(left=left, ops=ops, comparators=others):
            yield from _names(left)
            for link, other in zip(ops, others, strict=True):
                if type(link) not in _COMPARISONS:
                    raise SpaceError("'is' has no place in it; write == or !=, or is_missing(x)")
                if isinstance(link, ast.In | ast.NotIn):
                    _check_list(other)
                elif any(
                    isinstance(side, ast.Constant) and side.value is None for side in (left, other)
                ):
                    raise SpaceError("nothing is equal to None; write is_missing(x)")
                else:
                    yield from _names(other)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            yield from _names_of_call(name, arguments, ast.unparse(node))
        case ast.IfExp():
            raise SpaceError("write where(condition, yes, no) for 'yes if condition else no'")
        case ast.Attribute():
            raise SpaceError(f"write column('{ast.unparse(node)}') for a name with a point in it")
        case _:
            raise SpaceError(f"'{ast.unparse(node)}' has no place in it; {_WHAT}")


def _names_of_call(name: str, arguments: Sequence[ast.expr], text: str) -> Iterator[str]:
    if name not in _ARGUMENTS:
        raise SpaceError(f"there is no function '{name}'{did_you_mean(name, list(_ARGUMENTS))}")
    least, most = _ARGUMENTS[name]
    if not least <= len(arguments) <= most:
        takes = "one value" if most == 1 else "three values" if most == 3 else "two values or more"
        raise SpaceError(f"'{text}': {name} takes {takes}")
    if name == "column":
        value = read_literal(arguments[0])
        if not isinstance(value, str):
            raise SpaceError(f"'{text}': column takes a name in quotes")
        yield value
        return
    for argument in arguments:
        yield from _names(argument)


def _check_list(node: ast.AST) -> None:
    values = read_literal(node) if isinstance(node, ast.List | ast.Tuple) else None
    if not values or any(value is None or isinstance(value, list) for value in values):
        raise SpaceError(
            f"expected a list of values behind 'in', such as [1, 2], got {ast.unparse(node)}"
        )


@dataclass(frozen=True)
class _Worker:
    """Works out an expression, node by node, of one that `_names` has taken."""

    given: Mapping[str, Vector]
    rows: int

    def work(self, node: ast.AST) -> Vector:
        match node:
            case ast.Name(id=name):
                return self.given[name]
            case ast.Constant():
                return vectors.repeat(read_literal(node), self.rows, ast.unparse(node))
            case ast.BoolOp(op=op, values=parts):
                word = type(op).__name__.lower()
                return self._fold(parts, lambda a, b: vectors.both_or_one(word, a, b))
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return vectors.negation(self.work(part))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=part):
                return vectors.signed("-" if isinstance(op, ast.USub) else "+", self.work(part))
            case ast.BinOp(op=op, left=left, right=right):
                return vectors.arithmetic(_ARITHMETIC[type(op)], self.work(left), self.work(right))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compare(left, ops, others)
            case ast.Call(func=ast.Name(id="column"), args=[quoted]):
                return self.given[read_literal(quoted)]
            case ast.Call(func=ast.Name(id="min" | "max" as which), args=arguments):
                return self._fold(arguments, lambda a, b: vectors.extreme(which, a, b))
            case ast.Call(func=ast.Name(id="where"), args=arguments):
                return vectors.where(*map(self.work, arguments))
            case ast.Call(func=ast.Name(id=name), args=[argument]):
                return vectors.function(name, self.work(argument))
        raise AssertionError(ast.unparse(node))

    def _fold(self, parts: Sequence[ast.expr], join: Callable[[Vector, Vector], Vector]) -> Vector:
        found = self.work(parts[0])
        for part in parts[1:]:
            found = join(found, self.work(part))
        return found

    def _compare(
        self, left: ast.expr, ops: Sequence[ast.cmpop], others: Sequence[ast.expr]
    ) -> Vector:
        links: list[Vector] = []
        one = self.work(left)
        for op, node in zip(ops, others, strict=True):
            sign = _COMPARISONS[type(op)]
            if isinstance(op, ast.In | ast.NotIn):
                values: list[Any] = read_literal(node)
                wanted = [vectors.repeat(value, self.rows, repr(value)) for value in values]
                links.append(vectors.among(one, wanted, sign == "in"))
            else:
                other = self.work(node)
                links.append(vectors.comparison(sign, one, other))
                one = other
        found = links[0]
        for link in links[1:]:
            found = vectors.both_or_one("and", found, link)
        return found
