"""Values as one line of plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def printable(text: str) -> str:
    """Return `text` with what would move the cursor or hide written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def number_text(value: float, digits: int = 6) -> str:
    """Return a number with so many digits that tell something."""
    return f"{value:.{digits}g}"


def params_text(params: Mapping[str, Any]) -> str:
    """Return hyperparameters in one line, numbers shortened."""
    return printable(
        " ".join(
            f"{name}={number_text(value, 4) if isinstance(value, float) else value}"
            for name, value in params.items()
        )
    )


def count_text(number: int, what: str) -> str:
    """Return how many there are: ``1 trial``, ``3 trials``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
