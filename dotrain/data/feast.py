"""Features by name, from a Feast repository."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, final

from dotrain.data.feast_asking import Asking
from dotrain.data.feast_process.repo import read_settings
from dotrain.data.files import FileSource
from dotrain.data.source import AbstractSource, BadData, Column


@final
@dataclass(frozen=True)
class FeastSource(AbstractSource):
    """Rows of a file of entities, with the features that a Feast repository had of each as of its time.

    Columns are those of the entities' file, as they are, then the features in their order, by their names; where two
    columns would be named alike, all features have their view in front, as Feast's ``full_feature_names`` has it:
    ``passenger__age``. A column of the entities' file has no view.

    Attributes:
        repo: The repository's folder, with its ``feature_store.yaml``.
        entities: A file, or several, as of `FileSource`: the columns that views are joined by, ``event_timestamp``
            (without a zone it is UTC), the label, and the request data of on-demand views.
        label: The column of that file that is to be predicted.
        service: The feature service that says which features; None if `features` does.
        features: ``view:feature`` each; None if `service` says which.
        apply: Whether `feast apply` comes first. Until then nothing is known of the features.
        apply_timeout_s: How long that may take, in seconds.
        folder: Where `entities` starts from, as of `FileSource`.
    """

    repo: Path
    entities: str
    label: str
    service: str | None = None
    features: tuple[str, ...] | None = None
    apply: bool = False
    apply_timeout_s: float = 600.0
    folder: str = ""

    kind: ClassVar[str] = "feast"
    requirement: ClassVar[str] = "dotrain[feast]"

    def __post_init__(self) -> None:
        if (self.service is None) == (self.features is None):
            raise ValueError("service, features: expected one of both")

    @property
    def text(self) -> str:
        """Return how it is named."""
        what = "features" if self.service is None else f"the service '{self.service}'"
        return f"{what} of {self.repo}"

    def declared(self) -> Sequence[Column] | None:
        """Return the columns, as the registry and the files on this machine show them.

        Returns:
            The columns; None before `identity` was asked, if the registry is on another machine, or `apply` is to make it.

        Raises:
            BadData: If what is asked for isn't there, or isn't what the registry declares.
        """
        self._check()
        if self._asking.told is None and self.apply:
            read_settings(self.repo)  # for what it refuses
            return None
        found = (self._asking.told or self._asking.see())["columns"]
        if found is None:
            return None
        return [Column(n, kind, view, tuple(of), beside) for n, kind, view, of, beside in found]

    def identity(self) -> Mapping[str, Any]:
        """Return the definitions of what is asked for, and the digests of the entities' files.

        With `apply` that comes first, and a registry that is on another machine is asked: before a run, never by
        ``dotrain check``.

        Raises:
            BadData: As for `declared`.
        """
        self._check()
        definition = self._asking.tell()["definition"]
        entities = FileSource(self.entities, self.folder).identity()
        return {"definition": definition, "entities": entities}

    def noted(self) -> Mapping[str, Any]:
        """Return the digest of the definitions, and the registry's version, which changes with each `feast apply`."""
        told = self._asking.tell()
        return {"definition": told["digest"], "registry": told["registry"]}

    def batches(self) -> Iterator[Any]:
        """Yield the rows of the entities' file, in their order, each with what was known of it at its time.

        Raises:
            BadData: If rows are lost or doubled by the join, or anything isn't what the registry declares.
        """
        import pyarrow

        self._check()
        with self._asking.rows() as file, pyarrow.memory_map(str(file)) as source:
            reader = pyarrow.ipc.open_file(source)
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)

    @cached_property
    def _asking(self) -> Asking:
        question = {
            "repo": str(self.repo.resolve()),
            "entities": self.entities,
            "folder": self.folder,
            "label": self.label,
            "service": self.service,
            "features": self.features,
        }
        return Asking(question, self.apply, self.apply_timeout_s)

    def _check(self) -> None:
        # By its name: only processes of their own import it.
        if importlib.util.find_spec("feast") is None:
            raise BadData(f"{self.text} needs feast: pip install '{self.requirement}'", "feast")
