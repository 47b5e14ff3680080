"""Files beside the code that it may open: what a pattern finds, and the data of packages."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath

#: Folders of other programs, and endings of what they leave behind.
_FOREIGN = frozenset({"__pycache__", "node_modules"})
_LEAVINGS = (".pyc", ".pyo", "~", ".bak", ".orig", ".rej", ".swp", ".swo", ".tmp", ".egg-info")
#: What tells a run directory, and an environment: neither is part of the code.
_MARKERS = ("journal.jsonl", "pyvenv.cfg")


def files_of(pattern: str, folder: Path) -> list[Path]:
    """Return the files that a pattern means, in order; of a folder that it matches, all that is in it.

    Hidden files go if the pattern names them; run directories, environments and what editors leave
    behind never do.

    Args:
        pattern: Relative to the folder, as of the shell; ``**`` is any number of folders.
        folder: Where it starts from.
    """
    found: set[Path] = set()
    for name in glob.iglob(pattern, root_dir=folder, recursive=True):
        path = Path(os.path.normpath(folder / name))
        # The folder itself may be an environment: the pattern says what of it is meant.
        above = [part for part in path.relative_to(folder).parents if part != Path(".")]
        if _is_left_behind(path.name) or any(_is_foreign(folder / part) for part in above):
            continue
        if path.is_dir():
            found.update(files_below(path))
        elif path.is_file():
            found.add(path)
    return sorted(found)


def files_below(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and below that may be anybody's data."""
    if _is_foreign(folder):
        return
    for where, folders, files in os.walk(folder):
        kept = (name for name in folders if not name.startswith(".") and not _is_left_behind(name))
        folders[:] = sorted(name for name in kept if not _is_foreign(Path(where, name)))
        for name in sorted(files):
            path = Path(where, name)
            if not (name.startswith(".") or _is_left_behind(name)) and path.is_file():
                yield path


def package_data(files: Mapping[Path, str]) -> Iterator[tuple[str, Path]]:
    """Yield what lies in the packages of the user's modules and is no module, by its archive name.

    Args:
        files: The modules, each with its path relative to the folder that it is imported from.
    """
    packages = {
        file.parent: PurePath(name).parent
        for file, name in files.items()
        if file.name == "__init__.py" and PurePath(name).parent != PurePath(".")
    }
    for folder, name in packages.items():
        if folder.parent in packages:
            continue
        for path in files_below(folder):
            if path.suffix != ".py" and os.access(path, os.R_OK):
                yield (name / path.relative_to(folder)).as_posix(), path


def roots_of(files: Mapping[Path, str]) -> list[Path]:
    """Return the folders that modules are imported from, the first module's first."""
    found = (file.parents[len(PurePath(name).parts) - 1] for file, name in files.items())
    return list(dict.fromkeys(found))


def names_below(path: Path, roots: Iterable[Path]) -> list[str]:
    """Return the names by which a file lies beside the code: one for each folder it is below."""
    return [path.relative_to(root).as_posix() for root in roots if path.is_relative_to(root)]


def _is_foreign(folder: Path) -> bool:
    return folder.name in _FOREIGN or any((folder / marker).is_file() for marker in _MARKERS)


def _is_left_behind(name: str) -> bool:
    return name in _FOREIGN or name.endswith(_LEAVINGS) or name[:1] == name[-1:] == "#"
