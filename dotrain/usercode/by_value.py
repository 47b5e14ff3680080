"""What is given by value: functions of a script or a notebook, and the user's own plugins."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from dotrain.errors import UsageError
from dotrain.space import is_plain
from dotrain.usercode.closure import Closure
from dotrain.usercode.function import FunctionRef, Signature
from dotrain.usercode.whose import Whose, whose_file, whose_module


class GivenFunction:
    """A function given by value, described as one is that a config names.

    Attributes:
        value: The function itself.
        function: Its name.
        file: The file it was written in; None if there is none, as for a notebook's cell.
    """

    def __init__(self, value: Callable[..., Any]) -> None:
        self.value = value
        self.function: str = getattr(value, "__name__", type(value).__name__)
        self._code = getattr(inspect.unwrap(value), "__code__", None)
        name = self._code.co_filename if self._code else ""
        self.file = Path(name) if os.path.isfile(name) else None

    def signature(self) -> Signature | None:
        """Return its arguments, or None if they can't be told."""
        try:
            found = inspect.signature(self.value).parameters.values()
        except (TypeError, ValueError):
            return None
        named = [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        return Signature(
            required=tuple(p.name for p in named if p.default is p.empty),
            optional=tuple(p.name for p in named if p.default is not p.empty),
            takes_any=any(p.kind is p.VAR_KEYWORD for p in found),
            line=self._code.co_firstlineno if self._code else 0,
            defaults={p.name: p.default for p in named if is_plain(p.default)},
        )

    def reference(self) -> FunctionRef:
        """Return the function as bytes: a worker can't import ``__main__`` or a notebook's cells.

        Raises:
            UsageError: If something that it uses can't go to another process.
        """
        try:
            return FunctionRef(self.function, pickled=cloudpickle.dumps(self.value))
        except Exception as error:  # whatever the value's own pickling raises
            of = f" '{name}'," if (name := self._not_sent()) else ""
            raise UsageError(
                f"{self.function}() can't be sent to the processes of trials:{of} {type(error).__name__}: {error}; make inside "
                "of the function what it uses, or put it into a module and import that"
            ) from None

    def _not_sent(self) -> str:
        """Return which of the names that the function uses from around it can't be pickled; ``""`` if unknown."""
        with contextlib.suppress(TypeError, ValueError):
            around = inspect.getclosurevars(inspect.unwrap(self.value))
            for name, value in {**around.globals, **around.nonlocals}.items():
                try:
                    cloudpickle.dumps(value)
                except Exception:
                    return name
        return ""

    def is_importable(self) -> bool:
        """Whether workers import it with its module, so that all functions share one."""
        name = getattr(self.value, "__module__", None)
        return (
            name != "__main__"
            and getattr(sys.modules.get(name or ""), "__file__", None) is not None
        )

    def source(self) -> str:
        """Return its source; ``""`` if there is none to be had."""
        with contextlib.suppress(OSError, TypeError):
            return inspect.getsource(self.value)
        return ""


def closure_of(functions: Collection[GivenFunction], known: Collection[str]) -> Closure:
    """Return what the functions were written in: their files, or their source where there is none.

    Args:
        functions: The user's.
        known: Packages that are looked for; those loaded here, or named in a source, may be used.
    """
    sources = [function.source() for function in functions]
    loaded = {module.split(".")[0] for module in sys.modules}
    used = {name for name in known if name in loaded or any(name in text for text in sources)}
    # What Python would import here: a script's folder, and a notebook's, which is the current one.
    folders = tuple(entry or os.getcwd() for entry in sys.path)
    closure = Closure(packages=used, path=folders)
    files = closure.files
    for function in functions:
        try:
            # What stands behind a decorator is what the user has written.
            file = inspect.getsourcefile(inspect.unwrap(function.value))
        except TypeError:
            continue
        if file and whose_file(file) is Whose.DOTRAIN:
            continue
        if file and os.path.isfile(file):
            path = Path(file).resolve()
            twice = any(name == path.name and other != path for other, name in files.items())
            files[path] = f"{path.parent.name}/{path.name}" if twice else path.name
        elif source := function.source():
            closure.texts[f"{function.function}.py"] = source
    return closure


def packed(instance: object) -> bytes:
    """Return an object as bytes for workers; one of a class of the user's takes its code along."""
    modules: dict[str, ModuleType] = {}
    for each in type(instance).__mro__:
        _take_along(inspect.getmodule(each), modules)
    for module in modules.values():
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(instance)  # type: ignore[no-any-return]
    finally:
        for module in modules.values():
            cloudpickle.unregister_pickle_by_value(module)


def _take_along(module: ModuleType | None, found: dict[str, ModuleType]) -> None:
    """Add a module, if it is the user's, and those of his that it has names from."""
    if module is None or module.__name__ in found or whose_module(module) is not Whose.USER:
        return
    found[module.__name__] = module
    for value in list(vars(module).values()):
        if isinstance(value, ModuleType):
            _take_along(value, found)
        elif inspect.isclass(value) or inspect.isroutine(value):
            _take_along(inspect.getmodule(value), found)
