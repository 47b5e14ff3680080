"""The files of a run or of a trial, copied to another place."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotrain.errors import DotrainError, UsageError
from dotrain.report.artifacts import Artifact, Artifacts
from dotrain.results.text import bytes_text, count_text
from dotrain.store.kept import Kept
from dotrain.store.storage import StorageError, digest_of

#: How many of several files a message names.
_NAMED = 5


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


def copy_artifacts(found: Artifacts, to: Path) -> Copied:
    """Copy files; each is there whole or not at all, and none that is there already is changed.

    Args:
        found: What `read_artifacts` returned.
        to: A directory; made if it isn't there. What is below the trial, or the run, is below it.

    Raises:
        UsageError: If other files are in the way; nothing has been copied then.
        DotrainError: If a file can't be read or written.
    """
    pairs = [(one, to / found.below(one)) for one in found.files]
    same: set[Path] = set()
    other: list[str] = []
    files = size = 0
    gone: list[str] = []
    try:
        for one, target in pairs:
            if os.path.lexists(target):
                if _is_same(one, target):
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
            if _copy(one, target, found.kept):
                files, size = files + 1, size + target.stat().st_size
            else:
                gone.append(found.below(one))
    except StorageError as error:
        raise DotrainError(
            f"{error}; what was copied before is whole, the same command goes on"
        ) from None
    except OSError as error:
        raise DotrainError(
            f"can't copy to {to}: {error.filename or to}: {error.strerror}; what was copied before is whole, "
            "the same command goes on"
        ) from None
    return Copied(to, files, size, len(same), gone)


def _is_same(one: Artifact, target: Path) -> bool:
    if one.stored is not None:
        return target.is_file() and digest_of(target) == one.stored.digest
    file = Path(one.place)
    return target.is_file() and file.is_file() and filecmp.cmp(file, target, shallow=False)


def _copy(one: Artifact, target: Path, kept: Kept) -> bool:
    """Copy a file in one piece; return whether it was still there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        if not (_fetch if one.stored else _copy_here)(one, partial, kept):
            return False
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return True


def _copy_here(one: Artifact, partial: Path, kept: Kept) -> bool:
    file = Path(one.place)
    try:
        shutil.copyfile(file, partial)
    except FileNotFoundError:
        if file.exists():
            raise
        return False
    with contextlib.suppress(OSError):
        shutil.copystat(file, partial)
    return True


def _fetch(one: Artifact, partial: Path, kept: Kept) -> bool:
    assert one.stored is not None
    assert one.trial is not None
    try:
        kept.fetch(one.stored, partial)
    except StorageError:
        # A run that goes on replaces its files; what it still lists must be there.
        if one.stored in kept.manifest(one.trial).values():
            raise
        return False
    os.chmod(partial, one.stored.mode)
    return True


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
