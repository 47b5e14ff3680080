"""A function of the user's: what its ``def`` tells, and the name by which workers get it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dotrain.usercode.archive import Code


@dataclass(frozen=True)
class Signature:
    """The arguments of a function, as its ``def`` states them.

    Attributes:
        required: Names without a default.
        optional: Names with a default.
        takes_any: Whether it has ``**kwargs``.
        line: Line of the ``def``.
        defaults: The defaults that can be read off.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...]
    takes_any: bool
    line: int
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def names(self) -> set[str]:
        """Every name that may be given."""
        return {*self.required, *self.optional}


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


class Described(Protocol):
    """A function of the user's, named in a config or given by value."""

    @property
    def function(self) -> str:
        """Its name."""

    @property
    def file(self) -> Path | None:
        """Where it stands, if in a file."""

    def signature(self) -> Signature | None:
        """Return its arguments, or None if they can't be told."""

    def reference(self) -> FunctionRef:
        """Return what a worker loads it by."""


@dataclass(frozen=True)
class Functions:
    """The user's functions and their files, as they go to workers.

    Attributes:
        train: The train function.
        model: What ``model_gen`` calls, or None.
        data: What ``data_gen`` calls, or None.
        models: An ablation study's hand-made models, by name.
        prepare: What is called before the first trial, or None.
        packages: Top-level packages that the user's code imports.
        code: The user's files.
        path: Folders to add to ``sys.path``.
        needed: Those of `packages` that the code can't do without.
        certain: Those of these without which no trial can run.
    """

    train: FunctionRef
    model: FunctionRef | None = None
    data: FunctionRef | None = None
    models: Mapping[str, FunctionRef] = field(default_factory=dict)
    prepare: FunctionRef | None = None
    packages: tuple[str, ...] = ()
    code: Code = field(default_factory=Code)
    path: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    certain: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        train: Described,
        model: Described | None,
        data: Described | None,
        models: Mapping[str, Described],
        *,
        prepare: Described | None = None,
        packages: Iterable[str],
        code: Code,
        path: tuple[str, ...] = (),
        needed: Iterable[str] = (),
        certain: Iterable[str] = (),
    ) -> Functions:
        """Return described functions as workers get them; for the arguments see the attributes."""
        return cls(
            train=train.reference(),
            model=model.reference() if model else None,
            data=data.reference() if data else None,
            models={name: function.reference() for name, function in models.items()},
            prepare=prepare.reference() if prepare else None,
            packages=tuple(sorted(packages)),
            code=code,
            path=path,
            needed=tuple(sorted(needed)),
            certain=tuple(sorted(certain)),
        )
