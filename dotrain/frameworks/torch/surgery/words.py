"""The words for what a surgery did to a model, or can't do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

VARIANT = "write a variant under `models:`"
GROUP = f"leave out a whole group that ends in the shape it began with, or {VARIANT}"
ARGUMENT = f"turn it off by an argument under `components:`, or {VARIANT}"
EXAMPLE = "give the model an `example_input_array`, a tensor or a tuple of what forward() takes"

#: The longest reason of somebody else's that is quoted.
_LONGEST = 240


def quoted(names: Iterable[str]) -> str:
    """Return names for a sentence."""
    return ", ".join(f"'{name}'" for name in names)


def called(name: str, module: Any) -> str:
    """Return a module with its class, as in ``'fc1' (Linear)``; the model itself by its class."""
    kind = type(module).__name__
    return f"'{name}' ({kind})" if name else f"the forward() of {kind}"


def shape_text(value: Any) -> str:
    """Return the shape of a tensor, or of those in a structure, or the name of a class."""
    if hasattr(value, "shape"):
        return str(tuple(value.shape))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shape_text(part)}" for key, part in value.items()) + "}"
    if isinstance(value, tuple | list):
        return f"({', '.join(shape_text(part) for part in value)})"
    return type(value).__name__


def reason(error: BaseException) -> str:
    """Return an error in one line.

    Args:
        error: What was raised.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    line = next(filter(None, lines), type(error).__name__)
    if isinstance(error, AttributeError | TypeError | KeyError | IndexError):
        line = f"{type(error).__name__}: {line}"
    return (line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}...").rstrip(".")
