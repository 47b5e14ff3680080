"""Secrets in a config are used and not kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from dotrain.config.errors import Path

_SECRET = re.compile(r"passw|token|secret|credential|api_?key|private_?key", re.IGNORECASE)

#: What stands in the run directory instead of a secret.
NOT_KEPT = "<not kept>"


def names_secret(name: str) -> bool:
    """Whether the name of something says that nobody may read it."""
    return _SECRET.search(name) is not None


def without_secrets(data: Any) -> Any:
    """Return plain data with the value of every key that names a secret replaced."""
    if isinstance(data, Mapping):
        return {
            key: NOT_KEPT if names_secret(str(key)) else without_secrets(value)
            for key, value in data.items()
        }
    if isinstance(data, list):
        return [without_secrets(value) for value in data]
    return data


def not_kept(data: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every secret that an earlier run has not kept."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from not_kept(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from not_kept(value, (*path, index))
    elif data == NOT_KEPT:
        yield path
