"""Whose line is this: dotrain's, the user's, or a library's? Asked here and nowhere else."""

from __future__ import annotations

import os
import sysconfig
from enum import Enum
from pathlib import Path
from types import FrameType, ModuleType


class Whose(Enum):
    """Who is to be asked about a line of code."""

    DOTRAIN = "dotrain"
    USER = "the user"
    LIBRARY = "a library"


def whose_file(file: str | Path) -> Whose:
    """Return whose a source file is; it need not exist.

    A package counts as a library's where it was installed by copying. One that is installed
    ``--editable`` is its author's, as is whatever else lies in the folder of an environment.

    Args:
        file: Its path.
    """
    path = _real(file)
    if path.is_relative_to(_DOTRAIN):
        return Whose.DOTRAIN
    is_installed = not _INSTALLED.isdisjoint(path.parts)
    if is_installed or any(path.is_relative_to(folder) for folder in _LIBRARIES):
        return Whose.LIBRARY
    return Whose.USER


def whose_module(module: ModuleType) -> Whose:
    """Return whose a module is; without a file, ``__main__`` is a notebook or a console."""
    file = getattr(module, "__file__", None)
    if file is None:
        return Whose.USER if module.__name__ == "__main__" else Whose.LIBRARY
    return whose_file(file)


def whose_frame(frame: FrameType) -> Whose:
    """Return whose line a frame is at.

    What `exec` runs has a name instead of a file, such as ``<string>`` for the methods of a
    dataclass: it is the module's it runs in. A notebook's cells run in none that has a file.
    """
    name = frame.f_code.co_filename
    if name.startswith("<frozen"):
        return Whose.LIBRARY
    if name.startswith("<"):
        name = frame.f_globals.get("__file__") or ""
    return whose_file(name) if name else Whose.USER


def _real(file: str | Path) -> Path:
    # Links to the folder are followed, so that a package linked to an environment is its author's.
    # The file's own is not: some installers fill an environment with links to a cache.
    try:
        folder = os.path.realpath(os.path.dirname(file) or os.curdir)
    except (OSError, ValueError):  # the current folder is gone; no possible path
        folder = os.path.dirname(file)
    return Path(folder, os.path.basename(file))


_DOTRAIN = _real(__file__).parents[1]
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_LIBRARIES = {os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
