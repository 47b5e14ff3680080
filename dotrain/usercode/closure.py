"""Which files a train function needs: the user's own modules that it imports, found by reading.

They are shipped to workers that don't share a file system with the driver, and kept in the run
directory as the code that ran.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotrain.usercode.imports import Import, imports_of
from dotrain.usercode.target import Target
from dotrain.usercode.whose import Whose, whose_file

#: Modules of dotrain from which the user imports names.
PUBLIC = ("dotrain", "dotrain.callbacks")


@dataclass
class Closure:
    """The user's modules behind a set of functions.

    Attributes:
        files: For each file its path relative to the folder it is imported from.
        packages: Top-level names imported from elsewhere (``numpy``, ...).
        data: Files that go with them, each by the names by which it lies beside them.
        texts: Code that stands in no file, such as a notebook's, by a name for it.
        path: Folders that modules are imported from besides.
        homes: Of files that a run has kept, where the user knows them from, by name.
        kept_in: Where these were unpacked, or ``""``.
        needed: Of `packages` those that the source can't do without, each with where it says so
            first, as ``file:line:column``.
        certain: Those of them without which no trial can run.
        ours: What is imported from `PUBLIC`, as (module, name), each with where, likewise.
    """

    files: dict[Path, str] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    data: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()
    needed: dict[str, str] = field(default_factory=dict)
    certain: dict[str, str] = field(default_factory=dict)
    ours: dict[tuple[str, str], str] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    kept_in: str = ""


def find_closure(targets: Iterable[Target]) -> Closure:
    """Follow the imports of the targets' files through the folders they are imported from.

    Only what the source says is found: a module imported by a computed name is not.
    """
    closure = Closure()
    targets = list(targets)
    called: dict[Path, set[str]] = {}
    for target in targets:
        if target.file is not None:
            called.setdefault(target.file, set()).add(target.function)
    for target in targets:
        if target.file is None or whose_file(target.file) is not Whose.USER:
            closure.packages.add(target.module.split(".")[0])
            continue
        _follow(target.file, target.root, closure, called)
    return closure


def _follow(
    file: Path,
    root: Path,
    closure: Closure,
    called: Mapping[Path, Collection[str]],
    *,
    certain: bool = True,
) -> None:
    if file in closure.files or file.suffix != ".py":
        return
    closure.files[file] = file.relative_to(root).as_posix()
    for folder in file.relative_to(root).parents:
        init = root / folder / "__init__.py"
        if folder != Path(".") and init.is_file():
            _follow(init, root, closure, called, certain=certain)
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return
    local: set[str] = set()
    elsewhere: set[str] = set()
    needed: dict[str, str] = {}
    surely: dict[str, str] = {}
    for one in imports_of(tree, certain=certain, called=called.get(file, ())):
        if one.module in PUBLIC and one.is_needed and not one.level:
            place = f"{file}:{one.line}:{one.column}"
            closure.ours |= {(one.module, name): place for name in one.names} | closure.ours
        for name in _names_of(one, file, root):
            found = list(_resolve(name, (root, file.parent)))
            for inner in found:
                above = root if inner.is_relative_to(root) else file.parent
                _follow(inner, above, closure, called, certain=one.is_certain)
            first = name.split(".")[0]
            (local if found else elsewhere).add(first)
            if one.is_needed and not one.level:
                needed.setdefault(first, f"{file}:{one.line}:{one.column}")
                if one.is_certain:
                    surely.setdefault(first, needed[first])
    # Of `from package import name`, one of the two names `package` and `package.name` may be none.
    closure.packages |= elsewhere - local
    for name in (elsewhere - local) & needed.keys():
        closure.needed.setdefault(name, needed[name])
        if name in surely:
            closure.certain.setdefault(name, surely[name])


def _names_of(one: Import, file: Path, root: Path) -> Iterator[str]:
    """Yield the modules that an import may mean, by their names below `root`."""
    base = one.module
    if one.level:
        package = file.parents[one.level - 1] if one.level <= len(file.parents) else Path("/")
        if not package.is_relative_to(root):
            return
        above = ".".join(package.relative_to(root).parts)
        base = ".".join(part for part in (above, base) if part)
    if base:
        yield base
        yield from (f"{base}.{name}" for name in one.names)


def _resolve(name: str, folders: Iterable[Path]) -> Iterator[Path]:
    """Yield the file of the user's that importing `name` would run.

    What lies beside it and isn't the user's, such as dotrain itself, workers have of their own.
    """
    for folder in folders:
        path = folder.joinpath(*name.split("."))
        for candidate in (path.with_suffix(".py"), path / "__init__.py"):
            if candidate.is_file():
                if whose_file(candidate) is Whose.USER:
                    yield candidate
                return
