"""What must hold between hyperparameters: small expressions, such as ``units1 >= 2 * units2``.

They are worked out here, node by node: nothing of them is ever run. An expression has
numbers, text, True, False, None and lists of these; hyperparameters by name; ``+ - * / // % **``; comparisons, ``in``;
``and``, ``or``, ``not``; ``min``, ``max``, ``abs``.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, NamedTuple, final

from dotrain.errors import did_you_mean
from dotrain.space.base import Domain
from dotrain.space.domains import Categorical
from dotrain.space.expressions import read_expression, read_literal
from dotrain.space.values import SpaceError, is_number, plain_if_possible, same_value, value_text

_Value = Callable[[Mapping[str, Any]], Any]

#: Powers with more binary digits are worked out as floats.
_MOST_BITS: Final = 4096


class _Part(NamedTuple):
    """A part of an expression: how its value is found, and of which kinds that may be.

    `is_literal` tells a value that is written there; `domain` is that of a categorical hyperparameter by itself.
    """

    of: _Value
    kinds: frozenset[str]
    text: str
    is_literal: bool = False
    domain: Categorical | None = None


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if is_number(value):
        return "a number"
    if value is None:
        return "None"
    return "text" if isinstance(value, str) else "a list or a mapping"


_NUMBER, _BOOL = frozenset({"a number"}), frozenset({"true or false"})


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0:
        if base.bit_length() * exponent <= _MOST_BITS:
            return base**exponent
        base, exponent = float(base), float(exponent)
    return math.pow(base, exponent)


_ARITHMETIC: Mapping[type[ast.AST], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
    ast.Pow: ("**", _power),
}
_ORDER: Mapping[type[ast.AST], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}
#: Name: what it returns, and how many arguments it takes at least and at most.
_FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, float]] = {
    "abs": (abs, 1, 1),
    "max": (max, 2, math.inf),
    "min": (min, 2, math.inf),
}


class _CantTell(Exception):
    """A value of another kind than the expression needs."""


@final
class Constraint:
    """One expression that a configuration has to meet.

    A trial without one of the hyperparameters that it names meets it: it says nothing of such a trial. What can't
    be worked out for a configuration (a division by zero, text where a number is needed) isn't met by it.

    Attributes:
        text: As it is written.
        names: The searched hyperparameters that it names.
        fixed: The others that it names, with their values.
    """

    #: What is said where there is no name to say something of.
    _WHAT: ClassVar[str] = (
        "a constraint takes numbers, text, hyperparameters, + - * / // % **, comparisons, in, and, or, not, "
        "min, max and abs"
    )

    def __init__(
        self, text: str, domains: Mapping[str, Domain], fixed: Mapping[str, Any] | None = None
    ) -> None:
        """Read it.

        Args:
            text: The expression.
            domains: What is searched, by name.
            fixed: Hyperparameters that are the same in every trial.

        Raises:
            SpaceError: If it can't be read, names what isn't there, or can't be true or false.
        """
        self.text = text
        self._domains = domains
        self.fixed: dict[str, Any] = {}
        self._known = fixed or {}
        self._named: set[str] = set()
        try:
            part = self._read(read_expression(self.text))
        except RecursionError:
            raise SpaceError("too deeply nested") from None
        if not part.kinds & _BOOL:
            raise SpaceError(
                f"expected a comparison, such as a <= b; '{part.text}' is {_one(part)}"
            )
        if not self._named:
            raise SpaceError("it names nothing that is searched")
        self.names = tuple(name for name in domains if name in self._named)
        self._of = part.of

    def __reduce__(self) -> tuple[Any, ...]:
        return Constraint, (self.text, self._domains, self.fixed)

    def __repr__(self) -> str:
        return f"Constraint({self.text!r})"

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether a configuration meets it."""
        if any(name not in params for name in self.names):
            return True
        try:
            return self._of(params) is True
        except (ArithmeticError, ValueError, _CantTell):
            return False

    def _read(self, node: ast.AST) -> _Part:
        text = ast.unparse(node)
        match node:
            case ast.Constant() | ast.List() | ast.Tuple():
                value = read_literal(node)
                return _Part(lambda _: value, frozenset({_kind(value)}), text, is_literal=True)
            case ast.Name(id=name):
                return self._name(name)
            case ast.BoolOp(op=op, values=values):
                parts = [self._read(value) for value in values]
                tests = [_test(part, type(op).__name__.lower()) for part in parts]
                if isinstance(op, ast.And):
                    return _Part(lambda p: all(test(p) for test in tests), _BOOL, text)
                return _Part(lambda p: any(test(p) for test in tests), _BOOL, text)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                test = _test(self._read(operand), "not")
                return _Part(lambda p: not test(p), _BOOL, text)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                part = self._read(operand)
                sign = -1 if isinstance(op, ast.USub) else 1
                one = _number(part, "-" if sign < 0 else "+")
                return _Part(lambda p: sign * one(p), _NUMBER, text, part.is_literal)
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _ARITHMETIC:
                sign_, work = _ARITHMETIC[type(op)]
                a, b = (_number(self._read(side), sign_) for side in (left, right))
                return _Part(lambda p: work(a(p), b(p)), _NUMBER, text)
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [self._read(side) for side in (left, *others)]
                links = [_link(*three) for three in zip(ops, sides, sides[1:], strict=False)]
                return _Part(lambda p: all(link(p) for link in links), _BOOL, text)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments, text)
        raise SpaceError(f"'{text}' has no place in it; {self._WHAT}")

    def _name(self, name: str) -> _Part:
        if name in self._domains:
            self._named.add(name)
            domain = self._domains[name]
            if isinstance(domain, Categorical):
                kinds = frozenset(map(_kind, domain.values))
                return _Part(lambda p: p[name], kinds, name, domain=domain)
            return _Part(lambda p: p[name], _NUMBER, name)
        if name in self._known:
            value = self.fixed[name] = plain_if_possible(self._known[name])
            return _Part(lambda _: value, frozenset({_kind(value)}), name)
        known = [*self._domains, *self._known]
        hint = did_you_mean(name, [*known, "True", "False", "None"])
        if not hint.startswith("; did"):
            hint = f"{did_you_mean(name, known)}; text stands in quotes"
        raise SpaceError(f"there is no hyperparameter '{name}'{hint}")

    def _call(self, name: str, arguments: list[ast.expr], text: str) -> _Part:
        if name not in _FUNCTIONS:
            raise SpaceError(f"there is no function '{name}'; known: {', '.join(_FUNCTIONS)}")
        function, least, most = _FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            takes = "one number" if most == 1 else f"{least} numbers or more"
            raise SpaceError(f"'{text}': {name} takes {takes}")
        parts = [_number(self._read(argument), name) for argument in arguments]
        return _Part(lambda p: function(*(part(p) for part in parts)), _NUMBER, text)


def _one(part: _Part) -> str:
    return " or ".join(sorted(part.kinds))


def _number(part: _Part, sign: str) -> _Value:
    """Return how a number is found, where a sign or a function needs one."""
    if not part.kinds & _NUMBER:
        raise SpaceError(f"{sign} takes numbers; '{part.text}' is {_one(part)}")
    if part.kinds == _NUMBER:
        return part.of

    def number(params: Mapping[str, Any]) -> Any:
        value = part.of(params)
        if not is_number(value):
            raise _CantTell
        return value

    return number


def _test(part: _Part, word: str) -> _Value:
    """Return how it is found whether something holds, where ``and``, ``or`` or ``not`` ask."""
    if not part.kinds & _BOOL:
        raise SpaceError(f"{word} takes what is true or false; '{part.text}' is {_one(part)}")

    def test(params: Mapping[str, Any]) -> bool:
        value = part.of(params)
        if not isinstance(value, bool):
            raise _CantTell
        return value

    return test


def _link(op: ast.cmpop, left: _Part, right: _Part) -> _Value:
    """Return how it is found whether one comparison holds."""
    if type(op) in _ORDER:
        sign, compare = _ORDER[type(op)]
        a, b = _number(left, sign), _number(right, sign)
        return lambda p: compare(a(p), b(p))
    if isinstance(op, ast.Eq | ast.NotEq):
        for one, other in ((left, right), (right, left)):
            if other.is_literal and one.domain is not None:
                _refuse_unknown(one, [other.of({})])
        if not left.kinds & right.kinds:
            raise SpaceError(
                f"'{left.text}' is {_one(left)} and '{right.text}' {_one(right)}: they are never equal"
            )
        equal = isinstance(op, ast.Eq)
        return lambda p: same_value(left.of(p), right.of(p)) == equal
    if isinstance(op, ast.In | ast.NotIn):
        values = right.of({}) if right.is_literal else None
        if not isinstance(values, list) or not values:
            raise SpaceError(
                f"expected a list of values behind 'in', such as [1, 2], got {right.text}"
            )
        if left.domain is not None:
            _refuse_unknown(left, values)
        inside = isinstance(op, ast.In)
        return lambda p: any(same_value(left.of(p), value) for value in values) == inside
    raise SpaceError("'is' has no place in it; write == or !=")


def _refuse_unknown(part: _Part, values: list[Any]) -> None:
    assert part.domain is not None
    for value in values:
        if value not in part.domain:
            hint = did_you_mean(str(value), list(map(value_text, part.domain.values)))
            raise SpaceError(f"'{part.text}' is never {value!r}{hint}")
