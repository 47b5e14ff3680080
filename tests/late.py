"""Modules that a test file names and only its tests import, so that collecting tests stays light."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.util import find_spec
from typing import Any

import pytest

needs_keras = pytest.mark.skipif(
    find_spec("keras") is None, reason="the extra 'tensorflow' is not installed"
)

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed")


class Late:
    """A module, imported when something of it is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        # Collecting looks for marks and fixtures in whatever a test file has.
        if attribute.startswith(("_", "pytest")):
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Let a package look as if it weren't installed, to whoever asks before importing it."""
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find_spec(name)
    )
