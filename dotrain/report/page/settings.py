"""The best configuration, the whole config, and where it ran."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dotrain.config.writing import to_yaml
from dotrain.report.page.text import plain


@dataclass(frozen=True)
class Configuration:
    """The hyperparameters of one trial, to read and to copy.

    Attributes:
        rows: Name, value, and whether it was fixed.
        yaml: The ``hparams:`` section of a config.
        options: The same as ``-s`` options; ``""`` if a name can't be written so.
    """

    rows: list[tuple[str, str, bool]]
    yaml: str
    options: str


def configuration_of(params: Mapping[str, Any], fixed: Mapping[str, Any]) -> Configuration:
    """Return the hyperparameters of one trial.

    Args:
        params: What the trial was given.
        fixed: What every trial was given.
    """
    values = {**fixed, **params}
    options = [
        shlex.quote(f"hparams.{name}={to_yaml(value, one_line=True)}")
        for name, value in values.items()
    ]
    # A dot in a name would be a section of the config, an equals sign the end of the name.
    writable = not any({".", "="} & set(name) for name in values)
    return Configuration(
        rows=[(name, plain(value), name not in params) for name, value in values.items()],
        yaml=to_yaml({"hparams": values}),
        options=" ".join(f"-s {option}" for option in options) if writable else "",
    )


def environment_of(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the journal knows of where the run was driven, as far as it does."""
    environment = header.get("environment") or {}
    packages = {"dotrain": header.get("dotrain"), **(environment.get("packages") or {})}
    rows = [("Python", environment.get("python")), ("platform", environment.get("platform"))]
    return [(name, str(value)) for name, value in [*rows, *packages.items()] if value]
