"""Columns computed from others: what plain Python gives row by row, where values may be missing."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dotrain.data.derive import Derived, order
from dotrain.data.lineage import Lineage
from dotrain.data.source import BadData, Column

Row = Mapping[str, Any]


@dataclass
class Expression:
    """Its text, and what Python makes of one row."""

    text: str
    of: Callable[[Row], Any]


def lifted(text: str, work: Callable[..., Any], *parts: Expression) -> Expression:
    """Missing where a part is, or where there is no finite number."""

    def of(row: Row) -> Any:
        values = [part.of(row) for part in parts]
        if any(value is None for value in values):
            return None
        try:
            found = work(*values)
        except (ArithmeticError, ValueError):
            return None
        return None if isinstance(found, float) and not math.isfinite(found) else found

    return Expression(text.format(*(part.text for part in parts)), of)


def kleene_and(a: Any, b: Any) -> Any:
    return False if a is False or b is False else None if a is None or b is None else True


def kleene_or(a: Any, b: Any) -> Any:
    return True if a is True or b is True else None if a is None or b is None else False


ROUNDED = {int: lambda x: x, float: lambda x: float(round(x))}
NUMBERS = {
    "({} + {})": lambda a, b: a + b,
    "({} - {})": lambda a, b: a - b,
    "({} * {})": lambda a, b: a * b,
    "({} / {})": lambda a, b: a / b,
    "({} // {})": lambda a, b: a // b,
    "({} % {})": lambda a, b: a % b,
    "min({}, {})": min,
    "max({}, {})": max,
}
TESTS = {
    "({} < {})": lambda a, b: a < b,
    "({} >= {})": lambda a, b: a >= b,
    "({} == {})": lambda a, b: a == b,
    "({} != {})": lambda a, b: a != b,
}
LAST = {
    "log({})": math.log,
    "sqrt({})": math.sqrt,
    "exp({})": math.exp,
    "({}) ** 2": lambda x: float(x) ** 2,
    "2 ** {}": lambda x: 2.0**x,
}


def column(name: str) -> Expression:
    return Expression(name, lambda row: row[name])


def literal(value: Any) -> Expression:
    return Expression(repr(value), lambda _: value)


def where(test: Expression, yes: Expression, no: Expression) -> Expression:
    def of(row: Row) -> Any:
        known = test.of(row)
        return None if known is None else yes.of(row) if known else no.of(row)

    return Expression(f"where({test.text}, {yes.text}, {no.text})", of)


def numbers(depth: int) -> st.SearchStrategy[Expression]:
    leaf = st.one_of(
        st.sampled_from([column("i"), column("f")]),
        st.integers(-9, 9).map(lambda n: literal(n) if n >= 0 else literal(-n)),
    )
    if not depth:
        return leaf
    inner = numbers(depth - 1)
    return st.one_of(
        leaf,
        st.builds(
            lambda t, a, b: lifted(t, NUMBERS[t], a, b),
            st.sampled_from(sorted(NUMBERS)),
            inner,
            inner,
        ),
        inner.map(lambda a: lifted("(-{})", lambda x: -x, a)),
        inner.map(lambda a: lifted("abs({})", abs, a)),
        inner.map(lambda a: lifted("round({})", lambda x: ROUNDED[type(x)](x), a)),
        st.builds(where, conditions(depth - 1), inner, inner),
    )


def conditions(depth: int) -> st.SearchStrategy[Expression]:
    texts = st.sampled_from([column("s"), literal("a"), literal("é")])
    leaf = st.one_of(
        st.just(column("b")),
        st.sampled_from(["i", "f", "b", "s"]).map(
            lambda name: Expression(f"is_missing({name})", lambda row: row[name] is None)
        ),
        st.builds(
            lambda t, a, b: lifted(t, TESTS[t], a, b), st.sampled_from(sorted(TESTS)), texts, texts
        ),
        st.just(lifted("({} in ['a', 'b'])", lambda s: s in ("a", "b"), column("s"))),
        st.just(lifted("({} not in [1, 2.5])", lambda f: f not in (1, 2.5), column("f"))),
    )
    if not depth:
        return leaf
    inner, number = conditions(depth - 1), numbers(depth - 1)
    return st.one_of(
        leaf,
        st.builds(
            lambda t, a, b: lifted(t, TESTS[t], a, b),
            st.sampled_from(sorted(TESTS)),
            number,
            number,
        ),
        inner.map(lambda a: lifted("(not {})", lambda x: not x, a)),
        st.builds(
            lambda a, b: Expression(
                f"({a.text} and {b.text})", lambda row: kleene_and(a.of(row), b.of(row))
            ),
            inner,
            inner,
        ),
        st.builds(
            lambda a, b: Expression(
                f"({a.text} or {b.text})", lambda row: kleene_or(a.of(row), b.of(row))
            ),
            inner,
            inner,
        ),
    )


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "i": st.none() | st.integers(-50, 50),
            "f": st.none() | st.sampled_from([0.0, 0.5, 1.0, 2.5, -3.25, 1e3]) | st.floats(-50, 50),
            "b": st.none() | st.booleans(),
            "s": st.none() | st.sampled_from(["", "a", "b", "é", "A"]),
        }
    ),
    min_size=1,
    max_size=8,
)


def evaluated(text: str, rows: list[dict[str, Any]]) -> list[Any]:
    import pyarrow as pa

    types = {"i": pa.int32(), "f": pa.float64(), "b": pa.bool_(), "s": pa.string()}
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in types.items()}
    derived = Derived("new", text)
    found = derived.evaluate({name: columns[name] for name in derived.names})
    assert str(found.type) in ("int64", "double", "bool", "string")
    return list(found.to_pylist())


@given(ROWS, st.one_of(numbers(3), conditions(3)))
def test_each_row_is_what_python_makes_of_it(rows: list[dict[str, Any]], tried: Expression) -> None:
    assume({"i", "f", "b", "s"} & set(names_of(tried.text)))
    assert evaluated(tried.text, rows) == [tried.of(row) for row in rows]


@given(ROWS, numbers(1), st.sampled_from(sorted(LAST)))
def test_functions_are_pythons_too(
    rows: list[dict[str, Any]], inner: Expression, text: str
) -> None:
    tried = lifted(text, LAST[text], inner)
    assume({"i", "f"} & set(names_of(tried.text)))
    for found, row in zip(evaluated(tried.text, rows), rows, strict=True):
        expected = tried.of(row)
        assert (found is None) == (expected is None)
        assert found is None or math.isclose(found, expected, rel_tol=1e-12)


def names_of(text: str) -> tuple[str, ...]:
    try:
        return Derived("new", text).names
    except BadData:
        return ()


def test_what_has_no_number_is_missing_and_whole_numbers_stay_whole() -> None:
    import pyarrow as pa

    columns = {
        "a": pa.array([1, 0, None, 4], pa.uint8()),
        "zero": pa.array([0, 0, 0, 2]),
        "nan": pa.array([float("nan"), 1.0, None, float("inf")]),
        "home.dest": pa.array(["x", None, "y", "x"]).dictionary_encode(),
        "money": pa.array([1, None, 3, 4]).cast(pa.decimal128(20, 0)),
        "day": pa.array([0, 1, None, 3], pa.date32()),
        "none": pa.nulls(4),
    }
    for text, kind, expected in [
        ("a / zero", "double", [None, None, None, 2.0]),
        ("a // zero", "int64", [None, None, None, 2]),
        ("a + 1", "int64", [2, 1, None, 5]),
        ("a + money", "double", [2.0, None, None, 8.0]),
        ("is_missing(nan)", "bool", [True, False, True, False]),
        ("nan + 1", "double", [None, 2.0, None, math.inf]),
        ("column('home.dest') == 'x'", "bool", [True, None, False, True]),
        ("day < day", "bool", [False, False, None, False]),
        ("is_missing(none) and is_missing(none)", "bool", [True] * 4),
        ("where(a > 0, a, None)", "int64", [1, None, None, 4]),
        ("none + a", "double", [None] * 4),
        ("0 < a <= 1", "bool", [True, False, None, False]),
    ]:
        derived = Derived("new", text)
        again = pickle.loads(pickle.dumps(derived))
        assert again == derived
        found = again.evaluate(columns)
        assert (text, str(found.type), found.to_pylist()) == (text, kind, expected)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("age = 3", "; == compares"),
        ("age && 3", "; write and"),
        ("__import__('os').system('x')", "has no place in it"),
        ("open('x')", "no function 'open'"),
        ("lg(age)", "did you mean 'log'?"),
        ("age if x else 1", "write where("),
        ("age == None", "is_missing(x)"),
        ("age is None", "is_missing(x)"),
        ("home.dest", "column('home.dest')"),
        ("min(age)", "two values or more"),
        ("age in []", "a list of values"),
        ("3 + 4", "names no column"),
        ("age ** (" * 400 + "2" + ")" * 400, "longer than"),
        ("(" * 250 + "age" + ")" * 250, "can't be read"),
    ],
)
def test_what_is_no_expression_is_refused_where_it_stands(text: str, told: str) -> None:
    with pytest.raises(BadData) as caught:
        Derived("new", text)
    assert told in str(caught.value)
    assert caught.value.key == ("derive", "new")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s + 1", "+ takes numbers; s is text"),
        ("i + b", "write where(..., 1, 0)"),
        ("s == 1", "can't be compared"),
        ("b < b", "no meaning"),
        ("where(i, 1, 2)", "takes what is true or false"),
        ("where(b, 1, 'x')", "a column holds one of them"),
        ("i * 9000000000000000000", "write 1.0 * i"),
        ("i + 10000000000000000000", "more than 64 bits"),
    ],
)
def test_what_does_not_fit_is_refused_and_not_guessed(text: str, told: str) -> None:
    with pytest.raises(BadData) as caught:
        evaluated(text, [{"i": 2, "f": 0.5, "b": True, "s": "a"}])
    assert told in str(caught.value)
    assert caught.value.key == ("derive", "new")


def refused(*derived: tuple[str, str], known: tuple[str, ...] = ("a", "b", "label")) -> str:
    with pytest.raises(BadData) as caught:
        order([Derived(*one) for one in derived], known, "label")
    return str(caught.value)


def test_derived_columns_are_computed_after_what_they_need() -> None:
    made = [Derived("x", "y + 1"), Derived("z", "b"), Derived("y", "a * z")]
    assert [one.name for one in order(made, ["a", "b"])] == ["z", "y", "x"]
    assert "x -> y -> x" in refused(("x", "y"), ("y", "x"))
    assert "x -> x" in refused(("x", "x + 1"))
    assert "already" in refused(("a", "b"))
    assert "did you mean 'label'?" in refused(("x", "lable == 1"))
    assert "text stands in quotes" in refused(("x", "a == male"))
    assert "the label" in refused(("x", "y"), ("y", "label + 1"))
    assert [one.name for one in order([Derived("label", "a + b")], ["a", "b"], "label")] == [
        "label"
    ]


def test_what_is_computed_from_a_left_out_column_goes_with_it() -> None:
    columns = [
        Column("sibsp"),
        Column("parch"),
        Column("fare_per_head", derived_from=("fare", "sibsp")),
    ]
    derived = [
        Derived("family", "sibsp + parch"),
        Derived("alone", "family == 0"),
        Derived("x", "parch"),
    ]
    lineage = Lineage(columns, derived)
    assert lineage.needs("alone") == {"family", "sibsp", "parch"}
    assert lineage.goes_with(["sibsp"]) == ("fare_per_head", "family", "alone")
    assert lineage.goes_with(["fare"]) == ("fare_per_head",)
    assert lineage.goes_with(["alone"]) == ()
    assert lineage.goes_with(["sibsp"], keep_derived=True) == ()


def test_what_is_computed_from_a_views_column_that_isnt_in_the_table_goes_with_the_view() -> None:
    columns = [Column("age", view="person"), Column("half", derived_from=("person:height",))]
    lineage = Lineage(columns)
    assert lineage.goes_with(["age"]) == ()
    assert lineage.goes_with(["age"], view="person") == ("half",)
    assert lineage.goes_with(["age"], view="person", keep_derived=True) == ()
