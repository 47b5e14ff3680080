"""A program: the user's functions and what every trial of a run shares, as workers get it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import io
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cloudpickle

from dotrain.ablation.study import Study
from dotrain.core.policy import Direction
from dotrain.core.strategy import AbstractStrategy
from dotrain.frameworks.registry import import_packages
from dotrain.training.errors import BadSetup
from dotrain.training.tabular import TabularSource
from dotrain.usercode.digests import digest_of, digests_in

_OURS = str(Path(__file__).resolve().parents[1]) + os.sep

#: How the names of folders with unpacked code begin.
_UNPACKED = "dotrain-code-"


@dataclass(frozen=True)
class FunctionRef:
    """A user's function, by file or by value.

    Attributes:
        function: Its name.
        module: Dotted name of its module.
        root: Folder from which the module is imported, on the driver's machine.
        file: The module's file relative to `root`; None for an installed module.
        pickled: The function itself, for one defined in ``__main__``; else None.
    """

    function: str
    module: str = ""
    root: str = ""
    file: str | None = None
    pickled: bytes | None = None


@dataclass(frozen=True)
class Code:
    """The user's files, as a zip archive, with a digest of each.

    Attributes:
        archive: The zip.
        digests: SHA-256 by absolute path on the driver's machine.
    """

    archive: bytes = b""
    digests: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Mapping[Path, str], texts: Mapping[str, str] | None = None) -> Code:
        """Read the files.

        Args:
            files: Maps each to its name in the archive.
            texts: Code that stands in no file, such as a notebook's, by a name for the archive.
        """
        contents = {name: text.encode("utf-8", "replace") for name, text in (texts or {}).items()}
        digests = {}
        for path, name in files.items():
            contents[name] = path.read_bytes()
            digests[str(path)] = hashlib.sha256(contents[name]).hexdigest()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(contents.items()):
                # A fixed date makes equal code give equal bytes.
                archive.writestr(zipfile.ZipInfo(name), content)
        return cls(buffer.getvalue(), digests)

    @cached_property
    def files(self) -> dict[str, str]:
        """The SHA-256 of each file, by its name in the archive."""
        return digests_in(self.archive)

    @property
    def digest(self) -> str | None:
        """What tells this code from any other; None where there is none to tell."""
        return digest_of(self.files)

    def is_here(self) -> bool:
        """Whether this machine sees the very files that the driver read."""
        return all(_digest(path) == digest for path, digest in self.digests.items())


@dataclass(frozen=True)
class Program:
    """Everything that is the same for all trials of a run.

    Attributes:
        token: Names the run; unique.
        train: The train function.
        model: What ``model_gen`` calls, or None.
        data: What ``data_gen`` calls, or None.
        metric: Name of the metric.
        direction: Which values are better.
        value: Which report is the value of a function that returns nothing: ``last`` or ``best``;
            None if nobody has said so.
        hparams: Fixed hyperparameters.
        run_dir: The run directory.
        packages: Top-level packages that the user's code imports.
        code: The user's files.
        path: Folders to add to ``sys.path``.
        strategy: How a trial spans devices and workers, from `pack_strategy`.
        table: What ``data_gen`` draws from instead of a function, or None.
        study: The ablation study whose arms the trials are, or None.
        models: The study's hand-made models, by name.
    """

    token: str
    train: FunctionRef
    model: FunctionRef | None
    data: FunctionRef | None
    metric: str
    hparams: Mapping[str, Any]
    run_dir: str
    direction: Direction = "max"
    value: str | None = None
    packages: tuple[str, ...] = ()
    code: Code = field(default_factory=Code)
    path: tuple[str, ...] = ()
    strategy: bytes = b""
    table: TabularSource | None = None
    study: Study | None = None
    models: Mapping[str, FunctionRef] = field(default_factory=dict)


@dataclass(frozen=True)
class LoadedProgram:
    """A program whose functions are imported."""

    program: Program
    train: Callable[..., Any]
    model: Callable[..., Any] | None
    data: Callable[..., Any] | None
    models: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


def pack_strategy(strategy: AbstractStrategy) -> bytes:
    """Return a strategy as bytes for workers; one of the user's own takes its code along."""
    module = inspect.getmodule(type(strategy))
    file = getattr(module, "__file__", None) or ""
    if module is None or not file or "site-packages" in file or file.startswith(_OURS):
        return cloudpickle.dumps(strategy)  # type: ignore[no-any-return]
    cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(strategy)  # type: ignore[no-any-return]
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def load_strategy(program: Program) -> AbstractStrategy:
    """Return the program's strategy; `AbstractStrategy.begin` has not been called."""
    return cloudpickle.loads(program.strategy)  # type: ignore[no-any-return]


def load_program(program: Program) -> LoadedProgram:
    """Import the user's functions.

    Modules of the user's that the process has loaded for an earlier run are loaded anew, so that
    a worker that lives on never runs yesterday's code.

    Raises:
        BadSetup: If a function isn't there; whatever importing the user's modules raises.
    """
    for entry in reversed(program.path):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    _forget_modules(program.code)
    moved = None if program.code.is_here() else _unpack(program.code)
    importlib.invalidate_caches()
    import_packages(program.packages)

    def load(ref: FunctionRef | None) -> Callable[..., Any] | None:
        return None if ref is None else _load_function(ref, moved)

    train = _load_function(program.train, moved)
    models = {name: _load_function(ref, moved) for name, ref in program.models.items()}
    return LoadedProgram(program, train, load(program.model), load(program.data), models)


def _load_function(ref: FunctionRef, moved: Path | None) -> Callable[..., Any]:
    if ref.pickled is not None:
        function = cloudpickle.loads(ref.pickled)
    else:
        function = getattr(_load_module(ref, moved), ref.function, None)
    if not callable(function):
        raise BadSetup(f"{ref.file or ref.module} has no function '{ref.function}'")
    return function  # type: ignore[no-any-return]


def _load_module(ref: FunctionRef, moved: Path | None) -> Any:
    if ref.file is None:
        return importlib.import_module(ref.module)
    root = moved or Path(ref.root)
    file = (root / ref.file).resolve()
    for folder in (str(root), str(file.parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
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
        raise BadSetup(f"{file} can't be loaded as a Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def _forget_modules(code: Code) -> None:
    """Forget the user's modules of earlier runs, where they lie and where they were unpacked."""
    unpacked = os.path.join(os.path.realpath(tempfile.gettempdir()), _UNPACKED)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if name != "__main__" and (file in code.digests or file.startswith(unpacked)):
            del sys.modules[name]
    for entry in [entry for entry in sys.path if entry.startswith(unpacked)]:
        sys.path.remove(entry)
        shutil.rmtree(entry, ignore_errors=True)


def _unpack(code: Code) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=_UNPACKED))
    with zipfile.ZipFile(io.BytesIO(code.archive)) as archive:
        archive.extractall(folder)
    return folder.resolve()


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return ""
