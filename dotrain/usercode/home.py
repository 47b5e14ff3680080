"""Where the user's files lie for the user: on the driver's machine, not where a worker unpacked them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Moved:
    """Files that were unpacked elsewhere.

    Attributes:
        folder: Where to.
        places: The absolute path of each on the driver's machine, by its path in `folder`.
    """

    folder: Path
    places: Mapping[str, str]

    def at_home(self, text: str) -> str:
        """Return a text with the driver's paths for those in `folder`.

        What isn't among the files is where it would be beside them.
        """
        if str(self.folder) not in text:
            return text
        return self._pattern.sub(lambda found: self._homes.get(found[1] or "", found[0]), text)

    def lacks(self, file: str) -> bool:
        """Whether a path is in `folder`, and none of the files."""
        path = PurePosixPath(os.path.normpath(file))
        if not path.is_relative_to(self.folder):
            return False
        return str(path.relative_to(self.folder)) not in self._homes

    @cached_property
    def _homes(self) -> dict[str, str]:
        homes: dict[str, str] = dict(self.places)
        for name, place in self.places.items():
            for above, home in zip(PurePosixPath(name).parents, Path(place).parents, strict=False):
                # Where packages of several folders meet, the first, that of the train function.
                homes.setdefault("" if str(above) == "." else str(above), str(home))
        return homes

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        names = sorted(filter(None, self._homes), key=len, reverse=True)
        inside = "|".join(map(re.escape, names))
        end = r"(?!\w|[.-]\w)"
        return re.compile(rf"{re.escape(str(self.folder))}(?:/({inside}){end}|{end})")


#: What this process knows: all that has been unpacked for it, and where the user looks from.
_moved: dict[Path, Moved] = {}
_looks_from: list[str] = []


def begin(folder: str) -> None:
    """Forget what an earlier program has brought.

    Args:
        folder: The driver's current folder; ``""`` if nobody says.
    """
    _moved.clear()
    _looks_from[:] = [folder] if folder else []


def note(folder: Path, places: Mapping[str, str]) -> None:
    """Note what was unpacked where; as of `Moved`."""
    _moved[folder] = Moved(folder, places)


def at_home(text: str) -> str:
    """Return a text in which every unpacked file has the path that the user knows it by."""
    for moved in _moved.values():
        text = moved.at_home(text)
    return text


def elsewhere(file: str) -> str:
    """Return where a file of the user's was unpacked; the same path if it wasn't."""
    for moved in _moved.values():
        for name, place in moved.places.items():
            if place in (file, os.path.realpath(file)):
                return str(moved.folder / name)
    return file


def stayed_behind(file: object) -> bool:
    """Whether a path is where unpacked files lie, but none of them."""
    return isinstance(file, str) and any(moved.lacks(file) for moved in _moved.values())


def shown(file: str) -> str:
    """Return a path as the user would type it: relative where that is shorter."""
    file = at_home(file)
    if os.path.isabs(file):
        with contextlib.suppress(OSError, ValueError):
            relative = os.path.relpath(file, *_looks_from)
            return file if relative.startswith("..") else relative
    return file
