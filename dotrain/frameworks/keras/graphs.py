"""The architecture of a model, to be compared with that of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def architecture(model: Any) -> Any:
    """Return the architecture of a model, with numbers for the names of its layers; None if unknown."""
    try:
        config = model.get_config()
    except Exception:
        return None
    names: dict[str, int] = {}
    _collect_names(config, names)
    return _numbered(config, names)


def _collect_names(value: Any, names: dict[str, int]) -> None:
    if isinstance(value, Mapping):
        if isinstance(value.get("name"), str):
            names.setdefault(value["name"], len(names))
        for part in value.values():
            _collect_names(part, names)
    elif isinstance(value, list | tuple):
        for part in value:
            _collect_names(part, names)


def _numbered(value: Any, names: Mapping[str, int]) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbered(part, names) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_numbered(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value
