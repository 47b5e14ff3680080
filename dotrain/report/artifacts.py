"""The files of a run or of a trial: listed, and copied to another place."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dotrain.errors import DotrainError, UsageError
from dotrain.report.columns import Column, fit
from dotrain.report.reading import read_run
from dotrain.report.result import print_lines, width_of
from dotrain.report.story import find_trial
from dotrain.report.text import make_console
from dotrain.results.text import bytes_text, count_text, printable
from dotrain.store import RunDir
from dotrain.store.checkpoints import is_partial
from dotrain.store.run_dir import CHECKPOINT, REPORTS

Kind = Literal["log", "checkpoint", "reports", "tensorboard", "other"]

#: How many of several files a message names.
_NAMED = 5


@dataclass(frozen=True)
class Artifact:
    """One file.

    Attributes:
        trial: Whose it is; None if it is the run's own.
        path: Relative to the trial's directory, or to the run's.
        kind: What it is.
        size: In bytes.
        file: Where it lies.
    """

    trial: str | None
    path: str
    kind: Kind
    size: int
    file: Path


@dataclass(frozen=True)
class Artifacts:
    """The files of a run, or of one of its trials.

    Attributes:
        run_dir: The run directory.
        trial: Whose they are; None means all of the run.
        files: By trial and path, those of the run itself first.
        left_out: What is no file that could be copied, with the reason.
        top: The directory that copies begin at.
    """

    run_dir: Path
    trial: str | None
    files: list[Artifact]
    left_out: list[str]
    top: Path

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(one.size for one in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            "run_dir": str(self.run_dir),
            "trial": self.trial,
            "files": [
                {
                    "trial": one.trial,
                    "path": one.path,
                    "kind": one.kind,
                    "bytes": one.size,
                    "file": str(one.file),
                }
                for one in self.files
            ],
            "bytes": self.size,
            "left_out": self.left_out,
        }


@dataclass(frozen=True)
class Copied:
    """What has been copied.

    Attributes:
        to: Where to.
        files: How many files, those left out that were there already.
        size: How much that was, in bytes.
        same: How many files were there already.
        gone: Files that went away before they were copied, as of a run that goes on.
    """

    to: Path
    files: int
    size: int
    same: int
    gone: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""
        return {
            "to": str(self.to),
            "files": self.files,
            "bytes": self.size,
            "there_already": self.same,
            "gone": self.gone,
        }

    @property
    def text(self) -> str:
        """What was done, for people."""
        there = f" ({count_text(self.same, 'file')} there already)" if self.same else ""
        what = f"copied {count_text(self.files, 'file')}, {bytes_text(self.size)}"
        gone = f"; gone meanwhile: {_some(self.gone)}" if self.gone else ""
        return f"{what}, to {self.to}{there}{gone}"


def read_artifacts(path: Path, trial: str | None = None) -> Artifacts:
    """Return the files of a run, or of a trial.

    Args:
        path: The run directory.
        trial: ``t0007``, or its number; None means the whole run.

    Raises:
        UsageError: If `path` is no run directory, or has no such trial.
        JournalError: If the journal is damaged or newer than this dotrain.
    """
    run = read_run(path)
    run_dir = run.run_dir
    trial_id = None if trial is None else find_trial(run, trial).trial_id
    top = run_dir.path if trial_id is None else run_dir.trial_dir(trial_id)
    left_out: list[str] = []
    files = sorted(_files(run_dir, top, left_out), key=lambda one: (one.trial or "", one.path))
    return Artifacts(run_dir.path, trial_id, files, left_out, top)


def _files(run_dir: RunDir, top: Path, left_out: list[str]) -> Iterator[Artifact]:
    for place, folders, names in os.walk(top):
        folder = Path(place)
        links = [name for name in folders if (folder / name).is_symlink()]
        left_out += [f"{(folder / name).relative_to(top)}: a link to a folder" for name in links]
        folders[:] = [name for name in folders if not is_partial(name)]
        for name in names:
            file = folder / name
            # What is written at this moment is no file of the run yet.
            if file == run_dir.lock or (folder == run_dir.path and name.startswith(".")):
                continue
            try:
                info = file.stat()
            except OSError as error:
                left_out.append(f"{file.relative_to(top)}: {error.strerror}")
                continue
            if not stat.S_ISREG(info.st_mode):
                left_out.append(f"{file.relative_to(top)}: no regular file")
                continue
            yield _artifact(run_dir, file, info.st_size)


def _artifact(run_dir: RunDir, file: Path, size: int) -> Artifact:
    if not file.is_relative_to(run_dir.trials):
        own = file.relative_to(run_dir.path)
        return Artifact(None, str(own), _kind_of_run(own), size, file)
    trial_id, *parts = file.relative_to(run_dir.trials).parts
    if not parts:  # beside the trials' directories
        own = file.relative_to(run_dir.path)
        return Artifact(None, str(own), _kind_of_run(own), size, file)
    path = Path(*parts)
    return Artifact(trial_id, str(path), _kind_of_trial(path), size, file)


def _kind_of_run(path: Path) -> Kind:
    if "tfevents" in path.name:
        return "tensorboard"
    return "log" if path.parts[0] == "logs" else "other"


def _kind_of_trial(path: Path) -> Kind:
    if len(path.parts) > 1 and path.parts[0] == CHECKPOINT:
        return "checkpoint"
    if "tfevents" in path.name:
        return "tensorboard"
    if str(path) == REPORTS:
        return "reports"
    is_log = len(path.parts) == 1 and path.match("output*.log")
    return "log" if is_log else "other"


def copy_artifacts(found: Artifacts, to: Path) -> Copied:
    """Copy files; each is there whole or not at all, and none that is there already is changed.

    Args:
        found: What `read_artifacts` returned.
        to: A directory; made if it isn't there. What is below the trial, or the run, is below it.

    Raises:
        UsageError: If other files are in the way; nothing has been copied then.
        DotrainError: If a file can't be read or written.
    """
    pairs = [(one, to / one.file.relative_to(found.top)) for one in found.files]
    same: set[Path] = set()
    other: list[str] = []
    files = size = 0
    gone: list[str] = []
    try:
        for one, target in pairs:
            if os.path.lexists(target):
                if _is_same(one.file, target):
                    same.add(target)
                else:
                    other.append(str(target))
        if other:
            raise UsageError(
                f"--to {to}: {_some(other)} {'is' if len(other) == 1 else 'are'} there already, with "
                "something else inside; nothing was copied, choose an empty directory"
            )
        to.mkdir(parents=True, exist_ok=True)
        for one, target in pairs:
            if target in same:
                continue
            if _copy(one.file, target):
                files, size = files + 1, size + target.stat().st_size
            else:
                gone.append(str(one.file.relative_to(found.top)))
    except OSError as error:
        raise DotrainError(
            f"can't copy to {to}: {error.filename}: {error.strerror}; what was copied before is whole, "
            "the same command goes on"
        ) from None
    return Copied(to, files, size, len(same), gone)


def _is_same(file: Path, target: Path) -> bool:
    return target.is_file() and file.is_file() and filecmp.cmp(file, target, shallow=False)


def _copy(file: Path, target: Path) -> bool:
    """Copy a file in one piece; return whether it was still there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        try:
            shutil.copyfile(file, partial)
        except FileNotFoundError:
            if file.exists():
                raise
            return False
        with contextlib.suppress(OSError):
            shutil.copystat(file, partial)
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return True


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def print_artifacts(found: Artifacts) -> None:
    """Print what `read_artifacts` returned to stdout, for people."""
    console = make_console()
    print_lines(artifact_lines(found, width_of(console)), console)


def artifact_lines(found: Artifacts, width: int | None = None) -> list[str]:
    """Return the files, a line each, and their sum.

    Args:
        found: What `read_artifacts` returned.
        width: Cells in a line; None is as many as it takes.
    """
    files = found.files
    columns = [
        Column("trial", [one.trial or "-" for one in files]),
        Column("kind", [one.kind for one in files]),
        Column("size", [bytes_text(one.size) for one in files], right=True),
        Column("path", [printable(one.path) for one in files]),
    ]
    # One trial's need no column that says whose they are.
    lines, _ = fit(columns if found.trial is None else columns[1:], width)
    total = f"{count_text(len(files), 'file')}, {bytes_text(found.size)}, in {found.top}"
    left_out = [f"left out: {printable(what)}" for what in found.left_out]
    return [*(lines if files else []), *left_out, printable(total)]
