"""Features by name from a Feast repository."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, final

from dotrain.data.files import FileSource
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
        entities: A file, or several, as of `FileSource`: the columns that views are joined by, ``event_timestamp`` (without a zone it is UTC),
            the label, and the request data of on-demand views.
        label: The column of that file that is to be predicted.
        service: The feature service that says which features; None if `features` does.
        features: ``view:feature`` each; None if `service` says which.
        apply: Whether `feast apply` comes first. Until then nothing is known of the features.
        apply_timeout_s: How long that may take, in seconds.
    """

    repo: Path
    entities: str
    label: str
    service: str | None = None
    features: tuple[str, ...] | None = None
    apply: bool = False
    apply_timeout_s: float = 600.0
    _answers: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    kind: ClassVar[str] = "feast"
    requirement: ClassVar[str] = "dotrain[feast]"

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
            The columns; None if the registry is on another machine, or if `apply` is to make it, until `identity` was asked.

        Raises:
            BadData: If what is asked for isn't there, or isn't what the registry declares.
        """
        if self._known is None and self.apply:
            self._check()
            return None
        found = self._answer(connect=False)["columns"]
        if found is None:
            return None
        return [Column(n, kind, view, tuple(of), beside) for n, kind, view, of, beside in found]

    def identity(self) -> Mapping[str, Any]:
        """Return the definitions of what is asked for, and the digests of the entities' files.

        With `apply` that comes first, and a registry that is on another machine is asked: before a run, never by
        `dotrain check`.

        Raises:
            BadData: As for `declared`.
        """
        known = {"definition": self._answer(connect=True)["definition"]}
        return {**known, "entities": FileSource(self.entities).identity()["files"]}

    def noted(self) -> Mapping[str, Any]:
        """Return the version of the registry; that changes with each `feast apply`, of what else is in it too."""
        return {"registry": self._answer(connect=True)["registry"]}

    def batches(self) -> Iterator[Any]:
        """Yield the rows of the entities' file, in their order, each with what was known of it at its time.

        Raises:
            BadData: If rows are lost or doubled by the join, or anything isn't what the registry declares.
        """
        import pyarrow

        before = self._answer(connect=True)
        with OwnFolder(Kind.FEATURES) as folder:
            answer = self._ask(folder.path, connect=True, join=True)
            if answer["definition"] != before["definition"]:
                raise BadData(
                    f"what {self.text} is has changed meanwhile: another `feast apply`? Start again",
                    "feast",
                    "repo",
                )
            with pyarrow.memory_map(str(folder.path / ROWS)) as source:
                reader = pyarrow.ipc.open_file(source)
                for index in range(reader.num_record_batches):
                    yield reader.get_batch(index)

    @property
    def _known(self) -> dict[str, Any] | None:
        """What a run was told: it is as it was then."""
        return self._answers.get("run")

    def _answer(self, connect: bool) -> dict[str, Any]:
        """Return what the repository tells; asked again only where its files are others."""
        if self._known is not None:
            return self._known
        self._check()
        seen = {"columns": None} if connect and self.apply else self._seen()
        if connect and seen["columns"] is None:
            with OwnFolder(Kind.FEATURES) as folder:
                seen = self._ask(folder.path, connect=True)
        if connect:
            self._answers["run"] = seen
        return seen

    def _seen(self) -> dict[str, Any]:
        """Return what files on this machine show."""
        seen: dict[str, Any] = self._answers.get("seen", {"read": None})
        if seen["read"] is None or seen["read"] != stamps_of(seen["read"]):
            with OwnFolder(Kind.FEATURES) as folder:
                seen = self._answers["seen"] = self._ask(folder.path)
        return seen

    def _check(self) -> None:
        # By name: nobody else imports it.
        if importlib.util.find_spec("feast") is None:
            raise BadData(f"{self.text} needs feast: pip install '{self.requirement}'", "feast")

    def _ask(self, folder: Path, *, connect: bool = False, join: bool = False) -> dict[str, Any]:
        """Ask in a process of its own."""
        question = {
            "repo": str(self.repo.absolute()),
            "entities": self.entities,
            "label": self.label,
            "service": self.service,
            "features": self.features,
            "apply": self.apply and connect and not join,
            "connect": connect,
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
                f"`feast apply` in {self.repo} took longer than {self.apply_timeout_s:g} s and was ended",
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
