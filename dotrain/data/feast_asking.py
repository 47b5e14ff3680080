"""The driver's end of the process that asks Feast: it starts one, waits, and reads what that says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, final

from dotrain.data.source import BadData
from dotrain.temporary import Kind, OwnFolder

#: In the folder that a question is asked through.
QUESTION: Final = "question.json"
ANSWER: Final = "answer.json"
ROWS: Final = "rows.arrow"
#: Is there once `feast apply` is done.
APPLIED: Final = "applied"
_WORDS: Final = "words"
#: So many lines of what a process has said are told, if it says nothing else.
_LINES: Final = 15


@final
class Asking:
    """What a repository was asked, and has told.

    Attributes:
        told: What it has told a run, which is as it was then; None before.
    """

    def __init__(self, question: Mapping[str, Any], apply: bool, apply_timeout_s: float) -> None:
        """Ask nothing yet.

        Args:
            question: As of `feast_process.describing.Question`, without what is said here.
            apply: Whether `feast apply` comes before a run.
            apply_timeout_s: How long that may take, in seconds.
        """
        self._question = question
        self._apply = apply
        self._apply_timeout_s = apply_timeout_s
        self._seen: dict[str, Any] | None = None
        self._rows: OwnFolder | None = None
        self.told: dict[str, Any] | None = None

    def see(self) -> dict[str, Any]:
        """Return what files on this machine show; asked anew only where they are others.

        Raises:
            BadData: If what is asked for can't be had.
        """
        if self._seen is None or self._seen["read"] != stamps_of(self._seen["read"]):
            with OwnFolder(Kind.FEATURES) as folder:
                self._seen = self._ask(folder.path, {"apply": False, "join": False})
        return self._seen

    def tell(self) -> dict[str, Any]:
        """Return what a run is told: after `feast apply`, if that is wanted, and by Feast, if files don't show it.

        As importing Feast takes seconds, the process that does joins the rows too.

        Raises:
            BadData: If what is asked for can't be had.
        """
        if self.told is None:
            told = {"columns": None} if self._apply else self.see()
            self.told = told if told["columns"] is not None else self._join(self._apply)
        return self.told

    @contextmanager
    def rows(self) -> Iterator[Path]:
        """Give the file of rows.

        Raises:
            BadData: If they can't be had, or what is asked for isn't what it was when the run was told.
        """
        told = self.tell()
        answer = told if self._rows is not None else self._join(False)
        folder, self._rows = self._rows, None
        assert folder is not None
        with folder:
            if "refused" in answer:
                raise BadData(answer["refused"], *answer["key"])
            if answer["definition"] != told["definition"]:
                raise BadData(
                    "what is asked for has been changed meanwhile, by another `feast apply`: start again",
                    *("feast", "repo"),
                )
            yield folder.path / ROWS

    def _join(self, apply: bool) -> dict[str, Any]:
        self._rows = OwnFolder(Kind.FEATURES)
        try:
            return self._ask(self._rows.path, {"apply": apply, "join": True})
        except BaseException:
            self._rows.remove()
            self._rows = None
            raise

    def _ask(self, folder: Path, what: Mapping[str, bool]) -> dict[str, Any]:
        asked = {**self._question, **what, "parent": os.getpid()}
        (folder / QUESTION).write_text(json.dumps(asked), encoding="utf-8")
        environment = dict(os.environ)
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        # Not a pipe: what the user's code leaves running would keep it open.
        with (folder / _WORDS).open("wb") as words:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dotrain.data.feast_process", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                env=environment,
                start_new_session=True,
            )
        try:
            self._wait(process, folder, what["apply"])
        finally:
            if process.returncode is None:  # at Ctrl-C too, and with what it has started
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if not (folder / ANSWER).exists():
            said = (folder / _WORDS).read_text(encoding="utf-8", errors="replace")
            how = f"the process that asks Feast ended with exit code {process.returncode}"
            lines = [how, *said.strip().splitlines()[-_LINES:]]
            raise BadData("\n".join(lines), "feast", "repo")
        answer: dict[str, Any] = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
        if "error" in answer:
            raise BadData(answer["error"], *answer["key"])
        return answer

    def _wait(self, process: subprocess.Popen[bytes], folder: Path, apply: bool) -> None:
        try:
            process.wait(self._apply_timeout_s if apply else None)
        except subprocess.TimeoutExpired:
            if not (folder / APPLIED).exists():
                raise BadData(
                    f"`feast apply` in {self._question['repo']} took longer than {self._apply_timeout_s:g} s, and was ended",
                    *("feast", "apply"),
                ) from None
            process.wait()


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
