"""The user's functions, found and read without running them.

The driver never imports user code: that could cost seconds (a framework's import) and belongs on workers.
Everything it needs to know, where the function is and which arguments it asks for, is in the
source.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from dotrain.errors import UsageError, did_you_mean
from dotrain.usercode.function import FunctionRef, Signature
from dotrain.usercode.imports import Import, imports_of, only_here, package_of
from dotrain.usercode.whose import Whose, whose_file


@dataclass(frozen=True)
class Target:
    """A function named in a config.

    Attributes:
        spec: As the user wrote it.
        file: The source file, absolute; None for a compiled or namespace module.
        root: The folder from which the module's dotted name is importable.
        module: Dotted name of the module.
        function: Name of the function.
    """

    spec: str
    file: Path | None
    root: Path
    module: str
    function: str

    @cached_property
    def _tree(self) -> ast.Module | None:
        if self.file is None or self.file.suffix != ".py":
            return None
        try:
            return ast.parse(self.file.read_bytes(), filename=str(self.file))
        except OSError as error:
            raise UsageError(f"{self.file} can't be read: {error.strerror}") from None
        except SyntaxError as error:
            at = f"{self.file}:{error.lineno}:{error.offset}" if error.lineno else str(self.file)
            raise UsageError(f"{at}: syntax error: {error.msg}") from None
        except ValueError as error:  # how some versions of Python refuse null bytes
            raise UsageError(f"{self.file}: syntax error: {error}") from None

    def signature(self) -> Signature | None:
        """Return the function's arguments, or None if the source alone can't tell.

        Raises:
            UsageError: If the file has a syntax error or no such name at its top level.
        """
        return None if self._def is None else _signature(self._def)

    def reference(self) -> FunctionRef:
        """Return where a worker finds the function; by its module alone if that is installed."""
        if self.file is None or not self.file.is_relative_to(self.root):
            return FunctionRef(self.function, self.module)
        if whose_file(self.file) is not Whose.USER:
            return FunctionRef(self.function, self.module)
        file = str(self.file.relative_to(self.root))
        return FunctionRef(self.function, self.module, str(self.root), file)

    def beyond_its_package(self) -> Import | None:
        """Return the first relative import that fails, as it leads out of the module's package."""
        if self._tree is None or self.file is None:
            return None
        names = self.module.split(".")
        depth = len(names) - 1 + (self.file.name == "__init__.py" != f"{names[-1]}.py")
        needed = (one for one in imports_of(self._tree) if one.is_needed)
        return next((one for one in needed if one.level > depth), None)

    def gives_nothing(self) -> bool:
        """Whether the source shows that the function neither returns a value nor reports one."""
        if self._def is None:
            return False
        reports = any(isinstance(n, ast.Name) and n.id == "reporter" for n in ast.walk(self._def))
        return not reports and not any(
            isinstance(node, ast.Return)
            and node.value is not None
            and not (isinstance(node.value, ast.Constant) and node.value.value is None)
            for node in _own_statements(self._def.body)
        )

    @cached_property
    def _def(self) -> ast.FunctionDef | None:
        """The function's ``def``, as it is called; None if the source alone can't tell."""
        if self._tree is None:
            return None
        bound = dict(_top_level_names(self._tree.body))
        if self.function not in bound:
            if "*" in bound:
                return None
            functions = [name for name, node in bound.items() if isinstance(node, ast.FunctionDef)]
            hint = did_you_mean(self.function, functions)
            raise UsageError(f"{self.file} has no function '{self.function}'{hint}")
        node = bound[self.function]
        return node if isinstance(node, ast.FunctionDef) and not node.decorator_list else None


def _own_statements(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Yield what stands in a function, but not in the functions and classes inside it."""
    waiting: list[ast.AST] = [*body]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _top_level_names(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name, node
            case ast.Assign():
                for target in node.targets:
                    yield from ((n.id, node) for n in ast.walk(target) if isinstance(n, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, node
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    yield alias.asname or alias.name.split(".")[0], node
            case ast.If() | ast.Try() | ast.With():
                for inner in ast.iter_child_nodes(node):
                    if isinstance(inner, ast.stmt):
                        yield from _top_level_names([inner])
                    elif isinstance(inner, ast.ExceptHandler):
                        yield from _top_level_names(inner.body)


def _signature(node: ast.FunctionDef) -> Signature:
    a = node.args
    positional = [arg.arg for arg in (*a.posonlyargs, *a.args)]
    split = len(positional) - len(a.defaults)
    keyword = list(zip((arg.arg for arg in a.kwonlyargs), a.kw_defaults, strict=True))
    with_default = [*zip(positional[split:], a.defaults, strict=True), *keyword]
    return Signature(
        required=(*positional[:split], *(name for name, default in keyword if default is None)),
        optional=(*positional[split:], *(name for name, default in keyword if default is not None)),
        takes_any=a.kwarg is not None,
        line=node.lineno,
        defaults=dict(_literals(with_default)),
    )


def _literals(nodes: Iterable[tuple[str, ast.expr | None]]) -> Iterator[tuple[str, Any]]:
    for name, node in nodes:
        with suppress(ValueError, TypeError):  # it is computed
            if node is not None:
                yield name, ast.literal_eval(node)


def find_target(spec: str, config_dir: Path, code: Path | None = None) -> Target:
    """Find the function that a config names.

    Args:
        spec: ``path.py:function`` or ``module:function``. A path is looked for beside the config,
            then in each folder above it; a module there too, then on ``sys.path``.
        config_dir: The folder of the config file.
        code: Where an earlier run's code has been unpacked; looked for there and nowhere above.

    Raises:
        UsageError: If the spec is malformed or names nothing; with the places tried.
    """
    place, colon, function = spec.rpartition(":")
    if not colon or not place or not function.isidentifier():
        raise UsageError(f"expected path.py:function or module:function, got '{spec}'")
    folders = [config_dir.resolve(), *config_dir.resolve().parents]
    if code is not None:
        # A file that lies where no module can be named from the config's folders is kept by its
        # name alone.
        place = place if not place.endswith(".py") or _is_inside(place) else Path(place).name
        folders = [code]
    if place.endswith(".py"):
        return _find_file(spec, place, function, folders)
    return _find_module(spec, place, function, folders)


def refuse_lone_module(target: Target, config_dir: Path, code: Path | None = None) -> None:
    """Refuse a module of a package that is named as if it were none.

    Args:
        target: What a config names.
        config_dir: As of `find_target`.
        code: As of `find_target`.

    Raises:
        UsageError: If a relative import of it fails; with the form that works.
    """
    one, file = target.beyond_its_package(), target.file
    if one is None or file is None:
        return
    top, packages = package_of(file, at_least=one.level)
    module = ".".join([*packages, *([] if file.stem == "__init__" else [file.stem])])
    form = f"{module}:{target.function}"
    advice = f"write {form}"
    try:
        find_target(form, config_dir, code)
    except UsageError:
        advice = f"write {form}, and start with PYTHONPATH={top}"
    if not all(part.isidentifier() for part in module.split(".")):
        advice = "import it without the dots"
    raise UsageError(
        f"{file}:{one.line}:{one.column}: '{one}' leads out of the package that "
        f"'{target.spec}' says it is in; {advice}"
    )


def target_of(cls: type) -> Target | None:
    """Return where a class of the user's stands; None of one that is installed, or in no file."""
    module = sys.modules.get(cls.__module__)
    name = getattr(module, "__file__", None)
    if name is None or cls.__module__ == "__main__":
        return None
    file = Path(os.path.abspath(name))
    depth = cls.__module__.count(".") + (file.name == "__init__.py")
    root = file.parents[depth]
    known = {Path(os.path.abspath(entry or ".")) for entry in sys.path}
    if file.suffix != ".py" or root not in known or whose_file(file) is not Whose.USER:
        return None
    return Target(f"{cls.__module__}:{cls.__name__}", file, root, cls.__module__, cls.__name__)


def _is_inside(place: str) -> bool:
    """Whether the path of a module says what it is called from the folder that the path starts from."""
    parts = Path(place).with_suffix("").parts
    return not Path(place).is_absolute() and all(part.isidentifier() for part in parts)


def _find_file(spec: str, place: str, function: str, folders: list[Path]) -> Target:
    for folder in folders:
        # Links are not followed: a module is imported from where its name stands.
        file = Path(os.path.abspath(folder / place))
        try:
            if not file.is_file():
                continue
        except (OSError, ValueError):  # no possible path: too long, or not encodable
            continue
        if _is_inside(place):
            module = ".".join(Path(place).with_suffix("").parts)
            return Target(spec, file, folder, module, function)
        return Target(spec, file, file.parent, file.stem, function)
    tried = "\n    ".join(str(folder / place) for folder in folders)
    raise UsageError(f"no file {place}; tried\n    {tried}")


def _find_module(spec: str, module: str, function: str, folders: list[Path]) -> Target:
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"'{module}' is neither a path that ends in .py nor a module name")
    for entry in (*map(str, folders), *filter(None, sys.path)):
        path = [entry]
        found = None
        for part in module.split("."):
            # By its last name only: the spec of a nested one would import the package around it.
            found = PathFinder.find_spec(part, path)
            if found is None:
                break
            path = list(found.submodule_search_locations or [])
        if found is not None and found.origin is not None:
            file = Path(os.path.abspath(found.origin))
            return Target(spec, file, Path(os.path.abspath(entry)), module, function)
    hints = only_here([module.split(".")[0]], "the config").values()
    hint = "".join(f"; {words}" for words in hints)
    raise UsageError(
        f"no module '{module}' beside the config, in a folder above it, or on Python's path{hint}"
    )
