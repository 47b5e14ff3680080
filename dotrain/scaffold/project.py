"""Writing a small project into a folder: all of its files, or none."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from dotrain.errors import UsageError, did_you_mean

_SUFFIX = ".template"
SCHEMA = "dotrain.schema.json"


@dataclass(frozen=True)
class Template:
    """A project to start from.

    Attributes:
        summary: What it is, in a line.
        packages: What must be installed to run it, by module, with the name that pip knows.
        commands: What to type next, each with what it does.
    """

    summary: str
    packages: Mapping[str, str]
    commands: Mapping[str, str]


_RUN = "dotrain run once.yaml"
_SEARCH = "dotrain run search.yaml"
_ABLATE = "dotrain ablate search.yaml"

TEMPLATES: Mapping[str, Template] = {
    "plain": Template(
        "plain Python on made-up data; needs nothing else",
        {},
        {
            _RUN: "one training run",
            _SEARCH: "20 trials, two at a time",
            _ABLATE: "what is each part worth?",
        },
    ),
    "keras": Template(
        "a Keras model on the digits that come with scikit-learn",
        {"tensorflow": "tensorflow", "keras": "keras", "sklearn": "scikit-learn"},
        {
            _RUN: "one training run",
            _SEARCH: "9 trials, two at a time; the best train longer",
            _ABLATE: "what is each part worth?",
            "dotrain run distributed.yaml": "one training run by two workers",
        },
    ),
}


def create_project(directory: Path, template: str) -> list[Path]:
    """Write a template's files, and the schema of the config for editors.

    Args:
        directory: Where; made if it doesn't exist. Other files may be there.
        template: One of `TEMPLATES`.

    Returns:
        The files.

    Raises:
        UsageError: If a file is there already, or one can't be written; nothing is written then.
    """
    if template not in TEMPLATES:
        hint = did_you_mean(template, list(TEMPLATES))
        raise UsageError(f"there is no template '{template}'{hint}")
    texts = _texts_of(template)
    if os.path.lexists(directory) and not directory.is_dir():
        raise UsageError(f"{directory} is no directory")
    there = [str(directory / name) for name in texts if os.path.lexists(directory / name)]
    if there:
        what = "is there already" if len(there) == 1 else "are there already"
        raise UsageError(f"{', '.join(there)} {what}; nothing was written")
    return _write({directory / name: text for name, text in texts.items()})


def describe_project(directory: Path, template: str, written: list[Path]) -> str:
    """Return what a person should know about the files, and what to type next.

    Args:
        directory: Where they are.
        template: The template's name.
        written: The files.
    """
    chosen = TEMPLATES[template]
    lines = [f"made from the template '{template}', {chosen.summary}:"]
    lines += [f"  {file}" for file in written]
    missing = [name for module, name in chosen.packages.items() if find_spec(module) is None]
    lines += ["", "next:"]
    if missing:
        lines.append(f"  pip install {' '.join(missing)}")
    if directory.resolve() != Path.cwd():
        lines.append(f"  cd {shlex.quote(str(directory))}")
    width = max(map(len, chosen.commands))
    lines += [f"  {command:{width}}  # {what}" for command, what in chosen.commands.items()]
    others = [name for name in TEMPLATES if name != template]
    lines += [
        "",
        *(f"or start from --template {name}: {TEMPLATES[name].summary}" for name in others),
    ]
    return "\n".join(lines) + "\n"


def _texts_of(template: str) -> dict[str, str]:
    from dotrain.config.catalogue import catalogue
    from dotrain.config.json_schema import config_schema

    folder = files("dotrain.scaffold").joinpath("templates", template)
    texts = {
        file.name.removesuffix(_SUFFIX): file.read_text(encoding="utf-8")
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
    }
    return {**texts, SCHEMA: json.dumps(config_schema(catalogue()), indent=2) + "\n"}


def _write(texts: Mapping[Path, str]) -> list[Path]:
    written: list[Path] = []
    file = Path()
    try:
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            with open(file, "x", encoding="utf-8") as stream:
                written.append(file)
                stream.write(text)
    except OSError as error:
        for done in written:
            with contextlib.suppress(OSError):
                done.unlink()
        raise UsageError(f"{file} can't be written: {error.strerror}") from None
    return written
