"""Values as one line of plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dotrain.space import value_text


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
            f"{name}={number_text(value, 4) if isinstance(value, float) else value_text(value)}"
            for name, value in params.items()
        )
    )


def bytes_text(size: int) -> str:
    """Return a number of bytes: ``512 bytes``, ``3.4 kB``, ``1.2 GB``, a kB being 1,000 bytes."""
    if size < 1000:
        return count_text(size, "byte")
    number, unit = size / 1e3, "kB"
    for larger in ("MB", "GB", "TB"):
        if number < 999.5:
            break
        number, unit = number / 1e3, larger
    return f"{number:.0f} {unit}" if number >= 9.95 else f"{number:.1f} {unit}"


def count_text(number: int, what: str) -> str:
    """Return how many there are: ``1 trial``, ``3 trials``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
