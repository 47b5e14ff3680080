"""Names say what docs/architecture.md promises of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.test_layers import PACKAGE

#: Each beginning or end of a function's name, and what such a function may return.
RETURNS = {
    ("is_", ""): {"bool", "bool | None"},
    ("has_", ""): {"bool", "bool | None"},
    ("", "_of"): None,
    ("make_", ""): None,
    ("find_", ""): None,
    ("check_", ""): {"None"},
    ("refuse_", ""): {"None"},
    ("print_", ""): {"None"},
    ("", "_problems"): {"Iterator[Problem]"},
    ("on_", ""): {"None", "Iterator[Trial]"},
}
#: What a name that ends in seconds may be.
SECONDS = {"float", "float | None", "Callable[[], float]"}


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{file.relative_to(PACKAGE)}: {node.name}", node


@pytest.mark.parametrize(("start", "end"), RETURNS, ids="".join)
def test_a_function_returns_what_its_name_says(start: str, end: str) -> None:
    allowed = RETURNS[start, end]
    for place, node in functions():
        if node.name.startswith(start) and node.name.endswith(end) and node.returns:
            found = ast.unparse(node.returns)
            assert found in allowed if allowed else found != "None", f"{place} -> {found}"


def test_what_ends_in_seconds_is_a_number() -> None:
    for place, node in functions():
        for argument in [*node.args.args, *node.args.kwonlyargs]:
            if argument.arg.endswith("_s") and argument.annotation:
                kind = ast.unparse(argument.annotation).removeprefix("Annotated[")
                assert kind.split(", typer.")[0] in SECONDS, f"{place}({argument.arg})"
