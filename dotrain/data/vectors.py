"""What derived columns are computed with: whole columns that may miss values, and what can be done with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NUMBER: Final = "a number"
BOOL: Final = "true or false"
TEXT: Final = "text"
TIME: Final = "a date or a time"
MISSING: Final = "None"

_NAMES: Final = {"+": "add", "-": "subtract", "*": "multiply"}
_COMPARED: Final = {
    "==": "equal",
    "!=": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}


class Unfit(Exception):
    """A value is of another kind than is needed, or can't be held."""


@dataclass(frozen=True)
class Vector:
    """A column, or a value that stands for one.

    Attributes:
        kind: What its values are.
        array: Them: int64, float64, bool, string, a timestamp, or null.
        text: How messages name it.
    """

    kind: str
    array: pa.Array
    text: str

    @property
    def is_whole(self) -> bool:
        """Whether all are whole numbers."""
        import pyarrow as pa

        return bool(pa.types.is_integer(self.array.type))


def load(column: Any, name: str) -> Vector:
    """Return a column of a table; NaN is missing.

    Raises:
        Unfit: If nothing can be computed from its type.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    if types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if types.is_boolean(kind):
        return Vector(BOOL, array, name)
    if types.is_null(kind):
        return Vector(MISSING, array, name)
    if types.is_integer(kind):
        try:
            return Vector(NUMBER, array.cast(pa.int64()), name)
        except pa.ArrowInvalid:
            raise Unfit(f"column '{name}' holds whole numbers of more than 64 bits") from None
    if types.is_floating(kind) or types.is_decimal(kind):
        array = array.cast(pa.float64())
        nan = pc.is_nan(array).fill_null(False)
        return Vector(NUMBER, pc.if_else(nan, pa.scalar(None, pa.float64()), array), name)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return Vector(TEXT, array.cast(pa.string()), name)
    if types.is_date(kind) or (types.is_timestamp(kind) and kind.tz in (None, "UTC")):
        return Vector(TIME, array.cast(pa.timestamp("us"), safe=False), name)
    raise Unfit(f"column '{name}' is of the type {kind}, from which nothing can be computed")


def repeat(value: Any, rows: int, text: str) -> Vector:
    """Return a value that is written in an expression as a column.

    Raises:
        Unfit: If it is a whole number of more than 64 bits.
    """
    import pyarrow as pa

    if value is None:
        return Vector(MISSING, pa.nulls(rows), text)
    kinds = {bool: (BOOL, pa.bool_()), str: (TEXT, pa.string()), float: (NUMBER, pa.float64())}
    kind, arrow = kinds.get(type(value), (NUMBER, pa.int64()))
    try:
        return Vector(kind, pa.repeat(pa.scalar(value, arrow), rows), text)
    except (OverflowError, pa.ArrowInvalid):
        raise Unfit(f"{text} has more than 64 bits") from None


def arithmetic(sign: str, a: Vector, b: Vector) -> Vector:
    """Return ``a sign b``: whole numbers stay whole but for ``/`` and ``**``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    _need(NUMBER, sign, a, b)
    text = f"{a.text} {sign} {b.text}"
    if MISSING in (a.kind, b.kind):
        return _nothing(a, text)
    if a.is_whole and b.is_whole and sign not in ("/", "**"):
        if sign in _NAMES:
            try:
                return Vector(
                    NUMBER, pc.call_function(f"{_NAMES[sign]}_checked", [a.array, b.array]), text
                )
            except pa.ArrowInvalid:
                raise _too_large(text, a) from None
        return Vector(NUMBER, _whole_division(sign, a, b, text), text)
    import numpy as np

    works = {
        "+": np.add,
        "-": np.subtract,
        "*": np.multiply,
        "/": np.divide,
        "//": np.floor_divide,
        "%": np.mod,
        "**": np.power,
    }
    return Vector(NUMBER, _floats(works[sign], a, b), text)


def _whole_division(sign: str, a: Vector, b: Vector, text: str) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    one, other = (np.asarray(v.array.fill_null(0)) for v in (a, b))
    none = np.asarray(a.array.is_null()) | np.asarray(b.array.is_null()) | (other == 0)
    divisor = np.where(none, 1, other)
    if ((divisor == -1) & (one == np.iinfo(np.int64).min)).any():
        raise _too_large(text, a)
    work: Any = np.floor_divide if sign == "//" else np.mod
    return pa.array(work(one, divisor), pa.int64(), mask=none)


def _floats(work: Any, *given: Vector) -> pa.Array:
    """Return what NumPy computes of floats; what is no finite number, though all it comes of are, is missing."""
    import numpy as np
    import pyarrow as pa

    arrays = [_numpy(vector) for vector in given]
    with np.errstate(all="ignore"):
        found = np.asarray(work(*arrays), np.float64)
    finite = np.logical_and.reduce([np.isfinite(array) for array in arrays])
    return pa.array(found, pa.float64(), mask=np.isnan(found) | (~np.isfinite(found) & finite))


def _numpy(vector: Vector) -> np.ndarray[Any, Any]:
    import numpy as np
    import pyarrow as pa

    array = vector.array.cast(pa.float64(), safe=False)
    return np.asarray(array.to_numpy(zero_copy_only=False), np.float64)


def signed(sign: str, a: Vector) -> Vector:
    """Return ``-a`` or ``+a``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    _need(NUMBER, sign, a)
    if sign == "+" or a.kind == MISSING:
        return a
    try:
        return Vector(NUMBER, pc.negate_checked(a.array), f"-{a.text}")
    except pa.ArrowInvalid:
        raise _too_large(f"-{a.text}", a) from None


def function(name: str, a: Vector) -> Vector:
    """Return what a function of one value gives; ``round`` goes to the even number from the middle, as Python's does."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    text = f"{name}({a.text})"
    if name == "is_missing":
        return Vector(BOOL, pc.is_null(a.array), text)
    _need(NUMBER, name, a)
    if a.kind == MISSING:
        return _nothing(a, text)
    if a.is_whole and name == "round":
        return a
    if a.is_whole and name == "abs":
        try:
            return Vector(NUMBER, pc.abs_checked(a.array), text)
        except pa.ArrowInvalid:
            raise _too_large(text, a) from None
    works = {"abs": np.abs, "log": np.log, "sqrt": np.sqrt, "exp": np.exp, "round": np.rint}
    return Vector(NUMBER, _floats(works[name], a), text)


def extreme(name: str, a: Vector, b: Vector) -> Vector:
    """Return the smaller or the larger one of each two; missing where one is."""
    import pyarrow.compute as pc

    _need(NUMBER, name, a, b)
    text = f"{name}({a.text}, {b.text})"
    if MISSING in (a.kind, b.kind):
        return _nothing(a, text)
    work = pc.min_element_wise if name == "min" else pc.max_element_wise
    return Vector(NUMBER, work(*_alike(a, b), skip_nulls=False), text)


def comparison(sign: str, a: Vector, b: Vector) -> Vector:
    """Return whether ``a sign b``, of two numbers, texts or times; whether they are equal of two booleans, too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = f"{a.text} {sign} {b.text}"
    if MISSING in (a.kind, b.kind):
        return Vector(BOOL, pa.nulls(len(a.array), pa.bool_()), text)
    if a.kind != b.kind:
        raise Unfit(f"{a.text} is {a.kind} and {b.text} {b.kind}: they can't be compared")
    if a.kind == BOOL and sign not in ("==", "!="):
        raise Unfit(f"{sign} has no meaning where {a.text} is true or false")
    return Vector(BOOL, pc.call_function(_COMPARED[sign], [*_alike(a, b)]), text)


def among(a: Vector, values: list[Vector], wanted: bool) -> Vector:
    """Return whether each is one of some values."""
    found = comparison("==", a, values[0])
    for value in values[1:]:
        found = both_or_one("or", found, comparison("==", a, value))
    return found if wanted else negation(found)


def both_or_one(word: str, a: Vector, b: Vector) -> Vector:
    """Return ``a and b`` or ``a or b``: missing only where what is missing would decide (Kleene)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    _need(BOOL, word, a, b)
    work = pc.and_kleene if word == "and" else pc.or_kleene
    sides = [vector.array.cast(pa.bool_()) for vector in (a, b)]
    return Vector(BOOL, work(*sides), f"{a.text} {word} {b.text}")


def negation(a: Vector) -> Vector:
    """Return ``not a``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    _need(BOOL, "not", a)
    return Vector(BOOL, pc.invert(a.array.cast(pa.bool_())), f"not {a.text}")


def where(condition: Vector, yes: Vector, no: Vector) -> Vector:
    """Return one value where something holds, and another where not; missing where nobody knows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    _need(BOOL, "where", condition)
    text = f"where({condition.text}, {yes.text}, {no.text})"
    kinds = {yes.kind, no.kind} - {MISSING}
    if len(kinds) > 1:
        raise Unfit(f"{yes.text} is {yes.kind} and {no.text} {no.kind}: a column holds one of them")
    test = condition.array.cast(pa.bool_())
    kind = kinds.pop() if kinds else MISSING
    return Vector(kind, pc.if_else(test, *_alike(yes, no)), text)


def _alike(a: Vector, b: Vector) -> tuple[pa.Array, pa.Array]:
    """Return two columns of one kind as columns of one type."""
    import pyarrow as pa

    one, other = a.array, b.array
    if a.kind == MISSING:
        one = one.cast(other.type)
    elif b.kind == MISSING:
        other = other.cast(one.type)
    elif a.kind == NUMBER and a.is_whole != b.is_whole:
        one, other = (array.cast(pa.float64(), safe=False) for array in (one, other))
    return one, other


def _nothing(a: Vector, text: str) -> Vector:
    import pyarrow as pa

    return Vector(NUMBER, pa.nulls(len(a.array), pa.float64()), text)


def _need(kind: str, sign: str, *given: Vector) -> None:
    for vector in given:
        if vector.kind not in (kind, MISSING):
            takes = "numbers" if kind == NUMBER else "what is true or false"
            hint = "; write where(..., 1, 0)" if (kind, vector.kind) == (NUMBER, BOOL) else ""
            raise Unfit(f"{sign} takes {takes}; {vector.text} is {vector.kind}{hint}")


def _too_large(text: str, a: Vector) -> Unfit:
    return Unfit(
        f"{text} grows beyond 64 bits in some row; write 1.0 * {a.text} to compute with floats"
    )
