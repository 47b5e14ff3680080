"""The worker's end: the user's code is imported from where it lies, or from the archive."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import cloudpickle

from dotrain.errors import UsageError
from dotrain.temporary import Kind
from dotrain.usercode import home, unpacking
from dotrain.usercode.archive import Code
from dotrain.usercode.function import FunctionRef
from dotrain.usercode.whose import Whose, whose_file

#: What was unpacked for the program that this process has loaded last.
_taken: list[Path] = []


def unpacked(code: Code) -> Path | None:
    """Have the user's files in a folder that all processes of this host share.

    Returns:
        The folder; None if they lie here as the driver read them.

    Raises:
        zipfile.BadZipFile: If the archive is damaged.
        OSError: If there is no room for it.
    """
    if code.is_here():
        return None
    return unpacking.take(code)


def whereabouts(files: Code, moved: Path | None = None) -> Path | None:
    """Return where the driver's files lie here, and note it for whoever tells of them.

    Args:
        files: The files.
        moved: Where another process has unpacked them, if one has.

    Returns:
        The folder; None if they lie here as the driver read them.
    """
    if moved is None:
        moved = unpacked(files)
        if moved is not None:
            _taken.append(moved)
    if moved is not None or files.kept_in:
        home.note(moved or Path(files.kept_in), files.places)
    return moved


def take_in(code: Code, path: Iterable[str], moved: Path | None = None) -> Path | None:
    """Get ready to import the user's code, and none of what this process has of earlier runs.

    Modules that were loaded for one are loaded anew, so that a worker that lives on never runs
    yesterday's code.

    Args:
        code: The user's files.
        path: Folders to add to ``sys.path``.
        moved: Where another process has unpacked it, if one has.

    Returns:
        Where the code has been unpacked; None if it lies here as the driver read it.
    """
    for entry in reversed([*path]):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    _forget_modules(code)
    moved = whereabouts(code, moved)
    # For functions that are pickled by the name of their module.
    if moved is not None and str(moved) not in sys.path:
        sys.path.insert(0, str(moved))
    importlib.invalidate_caches()
    return moved


def load_function(ref: FunctionRef, moved: Path | None) -> Callable[..., Any]:
    """Import a function of the user's.

    Args:
        ref: Its name, or itself.
        moved: What `take_in` returned.

    Raises:
        UsageError: If it isn't there; whatever importing the user's modules raises.
    """
    if ref.pickled is not None:
        function = cloudpickle.loads(ref.pickled)
        _settle(function, moved)
    else:
        function = getattr(_load_module(ref, moved), ref.function, None)
    if not callable(function):
        raise UsageError(f"{ref.file or ref.module} has no function '{ref.function}'")
    return function  # type: ignore[no-any-return]


def _load_module(ref: FunctionRef, moved: Path | None) -> Any:
    if ref.file is None:
        return importlib.import_module(ref.module)
    root = moved or Path(ref.root)
    file = (root / ref.file).resolve()
    for folder in (str(root), str(file.parent)):
        # To the front: a module of that name may lie where another run's code does.
        sys.path[:] = [folder, *(entry for entry in sys.path if entry != folder)]
    name = ref.module
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file):
        return loaded
    if loaded is not None or name.split(".")[0] in sys.stdlib_module_names:
        # A user's random.py must not become everybody's `random`.
        name = f"_dotrain_{name.replace('.', '_')}"
    # By location: another module of that name may be installed.
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} can't be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _settle(function: object, moved: Path | None) -> None:
    """Let a function of a script find what lies beside the script, where that was unpacked."""
    names = getattr(function, "__globals__", {})
    file = names.get("__file__")
    if moved is not None and isinstance(file, str):
        names["__file__"] = home.elsewhere(file)


def _forget_modules(code: Code) -> None:
    """Forget the user's modules of earlier runs: where they lie, where they were unpacked, or of one name."""
    ours = unpacking.temporary()
    kept = Kind.ARCHIVED.beginning
    named = set(_modules_in(code))
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        known = file in code.digests or file.startswith((ours, kept))
        # The same code at another place: what lies there may have changed.
        if not known and name in named and file:
            known = whose_file(Path(file)) is Whose.USER
        if known and name != "__main__":
            del sys.modules[name]
    for entry in [entry for entry in sys.path if entry.startswith((ours, kept))]:
        sys.path.remove(entry)
    while _taken:
        unpacking.release(_taken.pop())


def _modules_in(code: Code) -> Iterator[str]:
    """Yield the dotted names of the modules in an archive."""
    if not code.archive:
        return
    with zipfile.ZipFile(io.BytesIO(code.archive)) as archive:
        for file in map(PurePosixPath, archive.namelist()):
            if file.suffix == ".py":
                whole = file.parent if file.name == "__init__.py" else file.with_suffix("")
                yield ".".join(whole.parts)
