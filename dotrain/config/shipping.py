"""What goes with the code to workers that don't see the user's files, and whether it may."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dotrain.config.errors import Problem
from dotrain.config.source import Source
from dotrain.core.usage import megabytes
from dotrain.data.declared import Declared
from dotrain.data.files import FileSource
from dotrain.executors.base import AbstractExecutor
from dotrain.usercode.beside import files_of, names_below, package_data, roots_of
from dotrain.usercode.closure import Closure

#: The most that goes with the code, uncompressed, in bytes: every worker gets it, and each run keeps it.
MOST_BYTES = 100_000_000
#: So many files of a package's data are looked at; a package that has more is one of data.
_MOST_FILES = 10_000
#: So many files a message names.
_NAMED = 3

#: Files by the number of the pattern that names them.
Named = list[tuple[int, list[Path]]]


@dataclass(frozen=True)
class Shipment:
    """What goes with the code.

    Attributes:
        code: How many files of code.
        data: How many of packages' data.
        named: How many that the config names.
        size: Of all, in bytes.
        table: What the table comes from, if it goes along too.
        table_size: Its size, in bytes, as far as its files tell.
        left_out: What doesn't go along, and why.
    """

    code: int = 0
    data: int = 0
    named: int = 0
    size: int = 0
    table: str = ""
    table_size: int = 0
    left_out: tuple[str, ...] = ()


def find_named(
    patterns: Sequence[str], folder: Path, source: Source
) -> tuple[Named, list[Problem]]:
    """Return the files that the config names, by the number of their pattern, and problems.

    Args:
        patterns: What the config says.
        folder: Where it is relative to.
        source: Where it stands.
    """
    folder = Path(os.path.abspath(folder))
    found: Named = []
    problems: list[Problem] = []
    for index, pattern in enumerate(patterns):
        message = ""
        files: list[Path] = []
        if not pattern or os.path.isabs(pattern) or ".." in Path(pattern).parts:
            message = (
                f"expected a pattern of files below the config's folder, {folder}, got "
                f"{pattern!r}; copy or link them there, or put them where workers see them"
            )
        elif not (files := files_of(pattern, folder)):
            message = f"'{pattern}' matches no file below {folder}"
        elif unfit := next(filter(None, map(_unfit, files)), ""):
            message = unfit
        if message:
            problems.append(source.problem(("ship", index), message))
        found.append((index, files))
    return found, problems


def ship(
    closure: Closure,
    named: Named,
    table: Declared | None,
    executor: AbstractExecutor,
    source: Source,
    code: Path | None,
) -> tuple[Shipment, list[Problem], list[Problem]]:
    """Put to the code what goes with it.

    Args:
        closure: The code.
        named: What `find_named` has found.
        table: What ``data_gen`` draws from, if that is a table.
        executor: Where trials run.
        source: Where the config came from.
        code: Where an earlier run's code has been unpacked, if that is meant.

    Returns:
        What goes along, problems, and what a person should look at.
    """
    packer = _Packer(closure, source)
    if code is not None:
        packer.pack_archived(code)
    else:
        packer.pack(named)
    is_seen = executor.runs_on_this_machine
    shipment = packer.close(None if table is None or is_seen else table)
    left_out = () if is_seen else shipment.left_out
    warnings = [source.problem(("cluster",), text) for text in left_out]
    return shipment, packer.problems, warnings


class _Packer:
    """Puts what goes with the code to it."""

    def __init__(self, closure: Closure, source: Source) -> None:
        self._closure = closure
        self._source = source
        self.problems: list[Problem] = []
        self._named: dict[str, Path] = {}
        self._data: dict[str, Path] = {}
        self._left_out: list[str] = []

    def pack_archived(self, code: Path) -> None:
        """Take all that an earlier run's archive has."""
        # But for byte code, which this process has written there when it imported plugins.
        found = (path for path in code.rglob("*") if "__pycache__" not in path.parts)
        files = ((path.relative_to(code).as_posix(), path) for path in found)
        self._data = {name: path for name, path in files if self._is_new(name, path)}

    def pack(self, named: Named) -> None:
        """Take what the config names, and the data of packages."""
        roots = roots_of(self._closure.files)
        for index, files in named:
            for path in files:
                names = names_below(path, roots)
                if taken := next((name for name in names if self._is_taken(name, path)), ""):
                    message = (
                        f"{path} would lie where the code has another file, {taken}; rename it"
                    )
                    self.problems.append(self._source.problem(("ship", index), message))
                    break
                if not names:
                    where = f"imported from {roots[0]}" if roots else "in no file that goes along"
                    message = f"{path} can't lie beside the code, which is {where}"
                    self.problems.append(self._source.problem(("ship", index), message))
                    break
                self._named |= {name: path for name in names if self._is_new(name, path)}
        size = self._code_size() + _size(self._named)
        if size > MOST_BYTES:
            message = (
                f"{_what(self._named)} and the code make {megabytes(size)} MB, and no more than "
                f"{megabytes(MOST_BYTES)} MB go with the code; put the largest where workers see "
                "them (a shared disk, a bucket), and give the function their path"
            )
            self.problems.append(self._source.problem(("ship",), message))
            return
        found = package_data(self._closure.files)
        data = dict(itertools.islice(found, _MOST_FILES + 1))
        data = {name: path for name, path in data.items() if self._is_new(name, path)}
        if len(data) > _MOST_FILES or size + _size(data) > MOST_BYTES:
            self._left_out.append(
                f"the data of packages don't go with the code, being over {megabytes(MOST_BYTES)} MB "
                f"or {_MOST_FILES:,} files ({_what(data)}); name what workers need under 'ship:'"
            )
            return
        self._data = data

    def close(self, table: Declared | None) -> Shipment:
        """Return what goes along, with a table that workers may not see; the closure has it now."""
        closure = self._closure
        closure.data |= self._data | self._named
        size = self._code_size() + _size(self._data) + _size(self._named)
        text, table_size = "" if table is None else table.source.text, _size_of(table)
        if table_size > MOST_BYTES:
            self._left_out.append(
                f"{text} doesn't go along, as more than {megabytes(MOST_BYTES)} MB would "
                f"({megabytes(table_size)} MB); workers must see it by that path"
            )
            text, table_size = "", 0
        return Shipment(
            code=len(closure.files) + len(closure.texts),
            data=len(self._data),
            named=len(set(self._named.values())),
            size=size,
            table=text,
            table_size=table_size,
            left_out=tuple(self._left_out),
        )

    def _is_new(self, name: str, path: Path) -> bool:
        is_code = self._closure.files.get(path) == name or self._is_taken(name, path)
        return path.is_file() and not is_code and name not in self._named

    def _is_taken(self, name: str, path: Path) -> bool:
        """Whether a module that lies elsewhere has this name in the archive."""
        return any(name == one and path != file for file, one in self._closure.files.items())

    def _code_size(self) -> int:
        texts = sum(len(text) for text in self._closure.texts.values())
        return texts + sum(path.stat().st_size for path in self._closure.files)


def _size_of(table: Declared | None) -> int:
    """Return how large the files of a table are, as far as they can be seen."""
    source = None if table is None else table.source
    if not isinstance(source, FileSource) or source.files.is_remote:
        return 0
    return sum(Path(file.path).stat().st_size for file in source.files.all)


def _unfit(path: Path) -> str:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return f"{str(path)!a} can't go along: its name is no text"
    return "" if os.access(path, os.R_OK) else f"{path} can't be read"


def _size(files: Mapping[str, Path]) -> int:
    return sum(path.stat().st_size for path in files.values())


def _what(files: Mapping[str, Path]) -> str:
    sizes = {path: path.stat().st_size for path in files.values()}
    largest = sorted(sizes, key=lambda path: -sizes[path])[:_NAMED]
    shown = ", ".join(_sized(path, sizes[path]) for path in largest)
    return f"{len(sizes):,} files, the largest {shown}"


def _sized(path: Path, size: int) -> str:
    return f"{path} ({megabytes(size)} MB)"
