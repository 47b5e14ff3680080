"""The run directory: every path of it, and nothing else, is known here."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dotrain.errors import UsageError
from dotrain.store.disk import sync_path
from dotrain.store.filesystem import TRIED, check_place

#: In a trial's directory: the folder of its checkpoints, and the reports kept beside them.
CHECKPOINT, REPORTS = "checkpoint", "reports.jsonl"
#: In a run directory: the folder of its trials.
TRIALS = "trials"
#: How the name of a file begins by which a worker tells whether it sees a run directory.
SEEN = ".seen-"
#: What only drivers make, and only for moments.
_HALF_DONE = (f"{SEEN}*", f"{TRIED}*", ".config.yaml.*", ".code*.zip.*", ".result.json.*")


@dataclass(frozen=True)
class RunDir:
    """One run's directory.

    Attributes:
        path: The directory.
    """

    path: Path

    @classmethod
    def create(cls, runs_dir: Path, name: str) -> RunDir:
        """Make a new directory ``runs_dir/name/<time>-<random>``.

        Raises:
            UsageError: If it can't be made, or its file system can't hold a run.
        """
        elsewhere = "choose another place (--runs-dir, in Python runs_dir)"
        for _ in range(10):
            now = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
            path = runs_dir.absolute() / name / f"{now}-{secrets.token_hex(2)}"
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise UsageError(
                    f"can't make the run directory {path}: {error.strerror}; {elsewhere}"
                ) from None
            try:
                check_place(path, f"C{elsewhere[1:]}")
            except UsageError:
                path.rmdir()
                raise
            return cls(path)
        raise UsageError(f"can't find a free name for a run directory in {runs_dir / name}")

    @classmethod
    def open(cls, path: Path) -> RunDir:
        """Return an existing run directory.

        Raises:
            UsageError: If it is none.
        """
        run_dir = cls(path.absolute())
        if not run_dir.journal.is_file():
            what = "has no journal.jsonl" if path.is_dir() else "is no directory"
            raise UsageError(f"{path} is no run directory: it {what}")
        return run_dir

    @property
    def runs_dir(self) -> Path:
        """The folder of runs that it is in."""
        return self.path.parent.parent

    @property
    def token(self) -> str:
        """A name of the run that is unique across run directories."""
        return f"{self.path.parent.name}-{self.path.name}"

    @property
    def config(self) -> Path:
        """The config as resolved, overrides applied."""
        return self.path / "config.yaml"

    @property
    def lock(self) -> Path:
        """Who drives the run."""
        return self.path / "lock"

    @property
    def journal(self) -> Path:
        """Every event; the truth."""
        return self.path / "journal.jsonl"

    @property
    def has_begun(self) -> bool:
        """Whether there is a journal with something in it."""
        try:
            return self.journal.stat().st_size > 0
        except OSError:
            return False

    @property
    def code(self) -> Path:
        """The user's modules that ran."""
        return self.path / "code.zip"

    @property
    def result(self) -> Path:
        """What ``--json`` prints."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """The page that ``dotrain report`` makes."""
        return self.path / "report.html"

    @property
    def logs(self) -> Path:
        """What workers and Dask say, other than the trials' own output."""
        return self.path / "logs"

    @property
    def trials(self) -> Path:
        """The trials' own directories."""
        return self.path / TRIALS

    def trial_dir(self, trial_id: str) -> Path:
        """A trial's own directory."""
        return self.trials / trial_id

    def checkpoint(self, trial_id: str) -> Path:
        """Where a trial's checkpoints are."""
        return self.trial_dir(trial_id) / CHECKPOINT

    @property
    def requests(self) -> Path:
        """What people ask of the driver."""
        return self.path / "requests"

    @property
    def arriving(self) -> Path:
        """What isn't whole yet of files that come from another disk."""
        return self.path / "arriving"

    @property
    def storage(self) -> Path:
        """What of the trials' files is kept elsewhere, and where."""
        return self.path / "storage"

    @property
    def storage_place(self) -> Path:
        """Where that is."""
        return self.storage / "place.json"

    def turn(self, trial_id: str) -> Path:
        """Which attempt writes a trial's files, while one does."""
        return self.path / f".turn-{trial_id}"

    def manifest(self, trial_id: str) -> Path:
        """Which files of a trial are there."""
        return self.storage / f"{trial_id}.json"

    def trial_log(self, trial_id: str, rank: int = 0) -> Path:
        """What a rank of a trial printed."""
        name = "output.log" if rank == 0 else f"output-rank{rank}.log"
        return self.trial_dir(trial_id) / name

    def write_config(self, text: str) -> None:
        """Write ``config.yaml``."""
        replace_file(self.config, text.encode())

    def write_code(self, archive: bytes) -> None:
        """Write ``code.zip``."""
        replace_file(self.code, archive)

    def later_code(self, digest: str) -> Path:
        """The user's modules that ran after the code had changed."""
        return self.path / f"code-{digest}.zip"

    def read_code(self, digest: str | None = None) -> bytes:
        """Return the archive of the code that ran first, or of a later one; ``b""`` if none is kept.

        Args:
            digest: Of the later one.
        """
        path = self.later_code(digest) if digest else self.code
        return path.read_bytes() if path.is_file() else b""

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write ``result.json``."""
        replace_file(self.result, (json.dumps(result, indent=2) + "\n").encode())

    def sweep(self) -> None:
        """Remove what drivers have left half done that were killed; nobody else may drive the run."""
        shutil.rmtree(self.arriving, ignore_errors=True)
        for left in [file for pattern in _HALF_DONE for file in self.path.glob(pattern)]:
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                with suppress(OSError):
                    left.unlink()

    def sync(self) -> bool:
        """Bring to the disk what a resume needs beside the records, and that the directory is there.

        Returns:
            False if the file system has no way to.
        """
        codes = self.path.glob("code*.zip")
        # The last two: `create` may have made them.
        folders = (self.path, *self.path.parents[:3])
        for path in (*codes, *folders):
            sync_path(path)
        return sync_path(self.config)


def replace_file(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a small file such that readers see the old one or the new one, never a part.

    Args:
        path: Where.
        content: What.
        sync: Whether it must be on the disk before anything follows from it.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        temporary.write_bytes(content)
        if sync:
            sync_path(temporary)
        os.replace(temporary, path)
        if sync:
            sync_path(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
