"""A config in a folder with a train function, and what loading it says."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from dotrain.config import ConfigError, LoadedConfig, load_config

TRAIN = """\
def train(reporter=None, **hparams):
    return 1.0


def load():
    return []
"""


def other_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Path` take a locale's encoding that isn't UTF-8, where none is named."""
    monkeypatch.setattr(io, "text_encoding", lambda encoding, *_: encoding or "latin-1")


@dataclass
class Folder:
    """Where a config and the user's code lie."""

    path: Path

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file

    def load(self, text: str, *overrides: str, file: str = "config.yaml") -> LoadedConfig:
        return load_config(self.write(file, text), overrides)

    def problems(self, text: str, *overrides: str, file: str = "config.yaml") -> list[str]:
        """The messages, with the name of the file taken off their start."""
        written = self.write(file, text)
        with pytest.raises(ConfigError) as caught:
            load_config(written, overrides)
        assert caught.value.exit_code == 2
        assert str(caught.value) == "\n".join(map(str, caught.value.problems))
        return [str(problem).removeprefix(f"{written}:") for problem in caught.value.problems]
