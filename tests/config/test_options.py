"""A class' arguments are the keys of its section; its docstrings say what each is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import ValidationError

from dotrain.config.catalogue import options_of, options_schema
from dotrain.config.options import arguments_of, descriptions_of, options_model, summary_of
from dotrain.errors import UsageError


class Base:
    """A base.

    Args:
        one: Of the base.
        zero: Of the base alone.
    """

    def __init__(self, one: int) -> None:
        """Make it.

        Args:
            one: Of the base's constructor.
        """


class Sample(Base):
    """The first sentence, ``over``
    two lines.

    Note: no entry of a section.

    Args:
        one: The first,
            over: two lines.

        two (int, optional): After a blank line.
        no entry

    Attributes:
        three: In ``code``.

    Returns:
        four: Of another section.
    """

    def __init__(self, one: int, *rest: Any, two: str = "a", three: Any, **more: Any) -> None: ...


class Plain:
    def __init__(self, a, *, b=1):  # type: ignore[no-untyped-def]
        pass


class Bare:
    pass


def test_docstrings_say_what_each_argument_is_the_closest_last() -> None:
    assert descriptions_of(Sample) == {
        "zero": "Of the base alone.",
        "one": "The first, over: two lines.",
        "two": "After a blank line. no entry",
        "three": "In `code`.",
    }
    assert descriptions_of(Base)["one"] == "Of the base's constructor."
    assert descriptions_of(Bare) == {}
    assert (summary_of(Sample), summary_of(Bare)) == ("The first sentence, `over` two lines.", "")


def test_arguments_are_those_with_a_name() -> None:
    assert list(arguments_of(Sample)) == ["one", "two", "three"]
    assert list(arguments_of(Plain)) == ["a", "b"]
    assert arguments_of(Bare) == {}


def test_a_section_has_the_types_and_defaults_of_the_arguments() -> None:
    model = options_model(Sample, "name")
    made = model(one=1, three=None)
    assert made.model_dump() == {"name": "", "one": 1, "two": "a", "three": None}
    assert (model.__name__, options_model(Bare, "kind")().model_dump()) == ("Sample", {"kind": ""})
    for wrong in ({}, {"one": "1", "three": 1}, {"one": 1}, {"one": 1, "three": 1, "four": 1}):
        with pytest.raises(ValidationError):
            model(**wrong)
    assert options_model(Plain, "name")(a=object, b="x")


class Number:
    def __init__(self, *, x: float = 1.0) -> None: ...


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True])
def test_a_number_is_a_finite_one(value: Any) -> None:
    assert options_model(Number, "name")(x=2)
    with pytest.raises(ValidationError):
        options_model(Number, "name")(x=value)


class Unions:
    """Has types of several kinds."""

    def __init__(
        self,
        *,
        kept: dict[str, Any] = {"default": None, "discriminator": 1},  # noqa: B006
        both: Annotated[int, Ge(1)] | Annotated[str, MinLen(2)] = 1,
        one: Annotated[int, Ge(1)] | None = None,
        number: int | float = 1,
        word: Literal["a"] | int = 1,
        pair: tuple[int, Annotated[float, Lt(1)]] = (1, 0.5),
        many: Annotated[list[int], MinLen(1)] | Annotated[int, Gt(0), Le(3)] | None = None,
        least: bool,
    ) -> None: ...


def test_unions_are_put_together_where_that_says_the_same() -> None:
    schema = options_schema(Unions, "name")
    assert schema["properties"] == {
        "kept": {
            "type": "object",
            "additionalProperties": True,
            "default": {"default": None, "discriminator": 1},
        },
        "both": {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "minLength": 2}],
            "default": 1,
        },
        "one": {"type": ["integer", "null"], "minimum": 1},
        "number": {"type": "number", "default": 1},
        "word": {"anyOf": [{"type": "string", "const": "a"}, {"type": "integer"}], "default": 1},
        "pair": {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "number", "exclusiveMaximum": 1}],
            "minItems": 2,
            "maxItems": 2,
            "default": [1, 0.5],
        },
        "many": {
            "anyOf": [
                {"type": "array", "items": {"type": "integer"}, "minItems": 1},
                {"type": "integer", "exclusiveMinimum": 0, "maximum": 3},
                {"type": "null"},
            ]
        },
        "least": {"type": "boolean"},
    }
    assert {key: schema[key] for key in schema if key != "properties"} == {
        "type": "object",
        "required": ["least"],
        "additionalProperties": False,
    }
    told = [
        (one["name"], one["type"], one["required"], one["default"]) for one in options_of(schema)
    ]
    assert told == [
        ("least", "true or false", True, None),
        ("kept", "mapping", False, {"default": None, "discriminator": 1}),
        ("both", "whole number >= 1 or text", False, 1),
        ("one", "whole number >= 1", False, None),
        ("number", "number", False, 1),
        ("word", "a or whole number", False, 1),
        ("pair", "[whole number, number < 1]", False, [1, 0.5]),
        ("many", "list of whole numbers or whole number > 0, <= 3", False, None),
    ]


class Unclear:
    def __init__(self, *, x: NowhereToBeFound = 1) -> None: ...  # type: ignore[name-defined] # noqa: F821


def test_annotations_that_nobody_understands_are_told() -> None:
    with pytest.raises(
        UsageError, match=r"the options of Unclear can't be told: NameError: name 'Nowhere"
    ):
        options_model(Unclear, "name")
