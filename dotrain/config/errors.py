"""Mistakes in a config, all of them at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dotrain.errors import UsageError

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One mistake.

    Attributes:
        origin: ``file:line:column``, or ``--set key=value``; ``""`` of a call from Python.
        path: Where in the config, as keys and list positions.
        message: What is wrong and what was expected.
        name: What a call names it, if that isn't the path.
    """

    origin: str
    path: Path
    message: str
    name: str = ""

    def __str__(self) -> str:
        where = self.name or dotted(self.path)
        return ": ".join(part for part in (self.origin, where, self.message) if part)


class ConfigError(UsageError):
    """A config that can't be run.

    Attributes:
        problems: Every mistake found, in the order of the file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)


def dotted(path: Path) -> str:
    """Return a path as a person writes it: ``search.space.lr.range``, ``seeds[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


#: A line and a column of the file; an override may end in numbers, and has no place in it.
_PLACE = re.compile(r"(?!--set ).*:(\d+):(\d+)", re.DOTALL)


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Return problems in the order in which they stand in the file, those without a place first."""

    def position(problem: Problem) -> tuple[int, int]:
        found = _PLACE.fullmatch(problem.origin)
        return (int(found[1]), int(found[2])) if found else (0, 0)

    return sorted(problems, key=position)
