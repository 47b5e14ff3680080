"""What a source imports, read without running it, and whether a trial will find it."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from dotrain.usercode.whose import Whose, whose_file

#: Exceptions whose handlers show that a source can do without what it imports.
_EXPECTED = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}


@dataclass(frozen=True)
class Import:
    """One ``import`` statement.

    Attributes:
        module: What is imported, or from what, without leading dots; may be ``""``.
        names: What is imported from it; none of ``import module``.
        level: How many leading dots it has.
        line: Where it stands, from 1.
        column: The same, from 1.
        is_needed: Whether the source shows no way to do without.
        is_certain: Whether it is needed whenever the source is run, however that goes.
    """

    module: str
    names: tuple[str, ...]
    level: int
    line: int
    column: int
    is_needed: bool
    is_certain: bool = False

    def __str__(self) -> str:
        module = "." * self.level + self.module
        return f"from {module} import {', '.join(self.names)}" if self.names else f"import {module}"


#: What is within may be run or not.
_PERHAPS = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Match,
    ast.ExceptHandler,
)


def imports_of(
    tree: ast.AST, *, needed: bool = True, certain: bool = True, called: Collection[str] = ()
) -> Iterator[Import]:
    """Yield the imports of a source, those inside of functions too.

    Args:
        tree: The source, or a part of it.
        needed: Whether that part is run at all, and what fails in it fails.
        certain: Whether it is run in any case.
        called: Functions at its top level that are called in any case.
    """
    for node in ast.iter_child_nodes(tree):
        place = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0) + 1)
        if isinstance(node, ast.Import):
            yield from (Import(a.name, (), 0, *place, needed, certain) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            yield Import(node.module or "", names, node.level, *place, needed, certain)
        elif isinstance(node, ast.Try) and any(map(_expects, node.handlers)):
            for part in (*node.body, *node.handlers):
                inner = ast.Module([part], [])  # type: ignore[list-item]
                yield from imports_of(inner, needed=False, certain=False)
            rest = ast.Module([*node.orelse, *node.finalbody], [])
            yield from imports_of(rest, needed=needed, certain=False)
        else:
            is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            is_guarded = isinstance(node, ast.With | ast.AsyncWith) and any(
                _names_one(item.context_expr) for item in node.items
            )
            is_called = isinstance(node, ast.FunctionDef) and node.name in called
            inner_certain = certain and (is_called or not isinstance(node, _PERHAPS))
            is_needed = needed and not is_for_types and not is_guarded
            yield from imports_of(node, needed=is_needed, certain=inner_certain)
            if isinstance(node, ast.Raise | ast.Return):
                certain = False  # what follows may never be reached


def _expects(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or _names_one(handler.type)


def _names_one(expression: ast.expr) -> bool:
    """Whether an expression names what a failed import raises, as `suppress(ImportError)` does."""
    return any(
        getattr(node, "id", getattr(node, "attr", "")) in _EXPECTED for node in ast.walk(expression)
    )


def is_there(name: str, path: Iterable[str] = ()) -> bool:
    """Whether a top-level package can be found, without importing it.

    Args:
        name: Of the package.
        path: Folders to look in besides this process's own.
    """
    try:
        return (
            importlib.util.find_spec(name) is not None
            or PathFinder.find_spec(name, [*path]) is not None
        )
    except (ImportError, ValueError):  # it is loaded, and doesn't say from where
        return True


def package_of(file: Path, *, at_least: int = 0) -> tuple[Path, tuple[str, ...]]:
    """Return the folder that a file's outermost package lies in, and the packages from there on.

    Args:
        file: A module.
        at_least: How many folders are packages, whether or not they have an ``__init__.py``.
    """
    folder = file.parent
    packages: list[str] = []
    while len(packages) < at_least or (folder / "__init__.py").is_file():
        packages.insert(0, folder.name)
        folder = folder.parent
    return folder, tuple(packages)


def only_here(names: Collection[str], beside: str) -> dict[str, str]:
    """Return what to say of modules that lie in the current folder, and that Python finds nowhere.

    Args:
        names: Of modules, without those inside of packages.
        beside: What to put them beside.
    """
    try:
        folder = Path.cwd()
    except OSError:  # it is gone
        return {}
    here = {}
    for name in names:
        for file in (folder / f"{name}.py", folder / name / "__init__.py"):
            if file.is_file() and whose_file(file) is Whose.USER:
                here[name] = file
    if not here:
        return {}
    # Asked of a new process: what this one's path was given, trials needn't get.
    code = "import sys, importlib.util as u; print(*[n for n in sys.argv[1:] if u.find_spec(n)])"
    command = [sys.executable, "-P", "-c", code, *here]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return {
        name: f"'{name}' is only in the current folder ({file}), where trials don't look; put it "
        f"beside {beside}, or start with PYTHONPATH={folder}"
        for name, file in here.items()
        if name not in found
    }
