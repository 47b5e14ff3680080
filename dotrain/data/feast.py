"""Features by name from a Feast repository."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, final

from dotrain.data.source import AbstractSource, BadData, Column
from dotrain.temporary import Kind, OwnFolder

#: In the folder that a question is asked through.
QUESTION: Final = "question.json"
ANSWER: Final = "answer.json"
ROWS: Final = "rows.arrow"


@final
@dataclass(frozen=True)
class FeastSource(AbstractSource):
    """Rows of a file of entities, with the features that a Feast repository had of each as of its time.

    Columns are those of the entities' file, as they are, then the features in their order, by their names; where two
    columns would be named alike, all features have their view in front, as Feast's ``full_feature_names`` has it:
    ``passenger__age``. A column of the entities' file has no view.

    Attributes:
        repo: The repository's folder, with its ``feature_store.yaml``.
        entities: CSV or Parquet: the columns that views are joined by, ``event_timestamp`` (without a zone it is UTC),
            the label, and the request data of on-demand views.
        label: The column of that file that is to be predicted.
        service: The feature service that says which features; None if `features` does.
        features: ``view:feature`` each; None if `service` says which.
        apply: Whether `feast apply` comes before the join. Until then nothing is known of the features.
        apply_timeout_s: How long that and the join may take together, if `apply`; in seconds.
    """

    repo: Path
    entities: Path
    label: str
    service: str | None = None
    features: tuple[str, ...] | None = None
    apply: bool = False
    apply_timeout_s: float = 600.0
    _answers: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    kind: ClassVar[str] = "feast"
    requirement: ClassVar[str] = "dotrain[feast]"
    packages: ClassVar[tuple[str, ...]] = ("feast",)

    def __post_init__(self) -> None:
        if (self.service is None) == (self.features is None):
            raise ValueError("service, features: expected one of both")

    @property
    def text(self) -> str:
        """Return how it is named."""
        what = (
            f"the service '{self.service}'"
            if self.service
            else f"{len(self.features or ())} features"
        )
        return f"{what} of {self.repo}"

    def declared(self) -> Sequence[Column] | None:
        """Return the columns, as the registry and the files on this machine show them.

        Returns:
            The columns; None if the registry is on another machine, or if `apply` is to make it and there was no join yet.

        Raises:
            BadData: If what is asked for isn't there, or isn't what the registry declares.
        """
        if self.apply and "joined" not in self._answers:
            return None
        found = self._described()["columns"]
        if found is None:
            return None
        return [Column(n, kind, view, tuple(sources)) for n, kind, view, sources in found]

    def identity(self) -> Mapping[str, Any]:
        """Return the registry's version, the definitions of what is asked for, and the digest of the entities' file.

        With `apply`, before a join: as far as it can be had from what is there.

        Raises:
            BadData: As for `declared`.
        """
        asked = self.service if self.service is not None else list(self.features or ())
        known: dict[str, Any] = {"service" if self.service is not None else "features": asked}
        try:
            answer = self._described()
            known |= {"registry": answer["registry"], "definition": answer["definition"]}
        except BadData:
            if not self.apply or "joined" in self._answers:
                raise
        with contextlib.suppress(FileNotFoundError), self.entities.open("rb") as file:
            known["entities"] = hashlib.file_digest(file, "sha256").hexdigest()
        return known

    def batches(self) -> Iterator[Any]:
        """Yield the rows of the entities' file, in their order, each with what was known of it at its time.

        Raises:
            BadData: If rows are lost or doubled by the join, or anything isn't what the registry declares.
        """
        import pyarrow

        if not self.apply:
            self.declared()  # what that refuses takes no import of Feast, which takes seconds
        with OwnFolder(Kind.FEATURES) as folder:
            self._answers.pop("joined", None)
            self._answers["joined"] = self._ask(folder.path, join=True)
            with pyarrow.memory_map(str(folder.path / ROWS)) as source:
                reader = pyarrow.ipc.open_file(source)
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)

    def _described(self) -> dict[str, Any]:
        """Return what the last join has told, else what the repository tells as it is now."""
        answer: dict[str, Any] = self._answers.get("joined") or self._answers.get("described") or {}
        if "joined" not in self._answers and answer.get("read") != stamps_of(
            answer.get("read", ())
        ):
            with OwnFolder(Kind.FEATURES) as folder:
                answer = self._answers["described"] = self._ask(folder.path, join=False)
        return answer

    def _ask(self, folder: Path, join: bool) -> dict[str, Any]:
        """Ask in a process of its own."""
        question = {
            "repo": str(self.repo.absolute()),
            "entities": str(self.entities.absolute()),
            "label": self.label,
            "service": self.service,
            "features": self.features,
            "apply": self.apply and join,
            "join": join,
            "parent": os.getpid(),
        }
        (folder / QUESTION).write_text(json.dumps(question), encoding="utf-8")
        environment = dict(os.environ)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        words = folder / "words"
        # Not a pipe: what the user's code leaves running would keep it open.
        with words.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dotrain.data.feast_process", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=environment,
                start_new_session=True,
            )
        try:
            process.wait(self.apply_timeout_s if question["apply"] else None)
        except subprocess.TimeoutExpired:
            raise BadData(
                f"`feast apply` in {self.repo}, with the join, took longer than {self.apply_timeout_s:g} s and was ended",
                *("feast", "apply"),
            ) from None
        finally:
            if process.returncode is None:  # at Ctrl-C too, and with what it has started
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        answer = folder / ANSWER
        if not answer.exists():
            last = words.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:]
            how = f"the process that asks Feast ended with exit code {process.returncode}"
            raise BadData("\n".join([how, *last]), "feast", "repo")
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        if "error" in found:
            raise BadData(found["error"], *found["key"])
        return found


def stamps_of(files: Iterable[str | Path]) -> dict[str, list[int] | None]:
    """Return what tells by the file system whether files are as they were; None of one that isn't there."""
    stamps: dict[str, list[int] | None] = {}
    for file in files:
        try:
            found = os.stat(file)
        except OSError:
            stamps[str(file)] = None
        else:
            stamps[str(file)] = [found.st_mtime_ns, found.st_size, found.st_ino]
    return stamps
