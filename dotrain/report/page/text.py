"""Numbers, counts and values as people read them, and JSON as a page can hold it."""

from __future__ import annotations

import json
from typing import Any

from dotrain.config.writing import to_yaml
from dotrain.results.text import number_text


def number(value: float | None) -> str:
    """Return a number with the digits that the console shows too; ``-`` for none."""
    return "-" if value is None else number_text(value)


def count(size: int, what: str) -> str:
    """Return ``1 trial`` or ``3 trials``."""
    return f"{size:,} {what}" + ("" if size == 1 else "s")


def listed(words: list[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    *rest, last = words or [""]
    return f"{', '.join(rest)} and {last}" if rest else last


def plain(value: Any) -> str:
    """Return a hyperparameter's value for people: a text without quotes, all else in YAML."""
    return value if isinstance(value, str) else to_yaml(value, one_line=True)


def rounded(value: float) -> float:
    """Return a number with the digits that a drawing can show; it takes half the room."""
    return float(number_text(value))


def script_json(value: Any) -> str:
    """Return `value` as JSON that may stand inside a ``<script>``, whatever texts are in it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
