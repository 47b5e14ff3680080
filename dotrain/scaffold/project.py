"""Writing a small project into a folder: all of its files, or none."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import yaml

from dotrain.errors import UsageError, did_you_mean

_SUFFIX = ".template"
_ABOUT = "about.yaml"
_FOLDER = Path(__file__).with_name("templates")
SCHEMA = "dotrain.schema.json"


@dataclass(frozen=True)
class Template:
    """A project to start from.

    Attributes:
        summary: What it is, in a line.
        packages: What must be installed to run it, by module, with the name that pip knows.
        commands: What to type next, each with what it does.
        rank: Of those whose packages are installed, the one of the lowest rank is taken.
    """

    summary: str
    packages: Mapping[str, str]
    commands: Mapping[str, str]
    rank: int

    def missing(self) -> list[str]:
        """Return what isn't installed of its packages, by the names that pip knows."""
        return [name for module, name in self.packages.items() if find_spec(module) is None]


def names() -> list[str]:
    """Return the names of the templates."""
    return sorted(folder.name for folder in _FOLDER.iterdir() if (folder / _ABOUT).is_file())


def templates() -> dict[str, Template]:
    """Return what there is to start from, by name, in the order in which it is taken unasked."""
    found = {}
    for name in names():
        about = yaml.safe_load((_FOLDER / name / _ABOUT).read_text(encoding="utf-8"))
        found[name] = Template(**about)
    return dict(sorted(found.items(), key=lambda pair: pair[1].rank))


def suitable() -> str:
    """Return the name of the template that the installed packages suggest."""
    return next(name for name, one in templates().items() if not one.missing())


def create_project(directory: Path, template: str) -> list[Path]:
    """Write a template's files, and the schema of the config for editors.

    Args:
        directory: Where; made if it doesn't exist. Other files may be there.
        template: One of `names`.

    Returns:
        The files.

    Raises:
        UsageError: If a file is there already, or one can't be written; nothing is written then.
    """
    if template not in names():
        hint = did_you_mean(template, names())
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
    known = templates()
    chosen = known[template]
    lines = [f"made from the template '{template}', {chosen.summary}:"]
    lines += [f"  {file}" for file in written]
    missing = chosen.missing()
    lines += ["", "next:"]
    if missing:
        lines.append(f"  pip install {' '.join(missing)}")
    if directory.resolve() != Path.cwd():
        lines.append(f"  cd {shlex.quote(str(directory))}")
    width = max(map(len, chosen.commands))
    lines += [f"  {command:{width}}  # {what}" for command, what in chosen.commands.items()]
    others = {name: one.summary for name, one in known.items() if name != template}
    width = max(map(len, others))
    lines += ["", "or start from another --template:"]
    lines += [f"  {name:{width}}  {summary}" for name, summary in others.items()]
    return "\n".join(lines) + "\n"


def _texts_of(template: str) -> dict[str, str]:
    from dotrain.config.catalogue import catalogue
    from dotrain.config.json_schema import config_schema

    texts = {
        file.name.removesuffix(_SUFFIX): file.read_text(encoding="utf-8")
        for file in sorted((_FOLDER / template).iterdir())
        if file.suffix == _SUFFIX
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
