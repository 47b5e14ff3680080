"""The code of a run: kept in its directory, compared when the run goes on, run once more from there."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dotrain.errors import UsageError
from dotrain.store.journal import Record, read_journal
from dotrain.store.run_dir import RunDir, replace_file
from dotrain.usercode.digests import digest_of, digests_in


class Code(Protocol):
    """The user's files as an archive, with a digest of each and of all."""

    @property
    def archive(self) -> bytes:
        """A zip."""

    @property
    def digest(self) -> str | None:
        """Of all files."""

    @property
    def files(self) -> dict[str, str]:
        """The digest of each, by name."""


@dataclass(frozen=True)
class GoingOn:
    """What a run goes on with.

    Attributes:
        changes: The files that differ from those that ran last, each with how.
        began_with: Digest of the first code, where the header doesn't say; None if it does.
        is_first: Whether it is the code that the run began with.
    """

    changes: list[str]
    began_with: str | None
    is_first: bool

    @property
    def text(self) -> str:
        """What is said of the changes."""
        files = ", ".join(self.changes)
        if self.is_first:
            return f"the code is again what the run began with ({files} since it ran last)"
        return (
            f"the code has changed since the run was last driven ({files}); trials from here on run "
            "the new code and are marked 'other code'"
        )


def code_that_goes_on(run_dir: RunDir, code: Code, records: Iterable[Record]) -> GoingOn:
    """Compare the code that a run goes on with, and keep it if it is new.

    Args:
        run_dir: The run directory.
        code: The user's code as it is now.
        records: The journal, header included.
    """
    header, *later = records
    known = (header.get("code") or {}).get("files")
    first: Mapping[str, str] = digests_in(run_dir.read_code()) if known is None else known
    before = [r["code"] for r in later if r["type"] == "Resumed" and r.get("code")]
    began_with = digest_of(first)
    last = before[-1] if before else began_with
    changes: list[str] = []
    if last and code.digest and code.digest != last:
        ran = first if last == began_with else digests_in(run_dir.read_code(last))
        changes = _changes(ran, code.files)
    if code.digest and code.digest != began_with:
        replace_file(run_dir.later_code(code.digest), code.archive)
    return GoingOn(
        changes, began_with if known is None else None, is_first=code.digest == began_with
    )


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of files that differ, each with how."""
    names = sorted({*before, *now})
    how = {
        name: "gone" if name not in now else "new" if name not in before else "changed"
        for name in names
        if before.get(name) != now.get(name)
    }
    return [f"{name}: {what}" for name, what in how.items()]


@dataclass(frozen=True)
class Archived:
    """A config that lies in a run directory.

    Attributes:
        folder: Where its relative paths start from: the folder of the config that the run began
            with.
        code: Where the run's own code has been unpacked, until this process ends.
        went_on_otherwise: Whether later trials of the run ran other code.
    """

    folder: Path
    code: Path
    went_on_otherwise: bool


def archived_code(config: Path) -> Archived | None:
    """Return what a config means that lies in a run directory; None if it lies elsewhere.

    Args:
        config: The config file.

    Raises:
        UsageError: If the run has kept no code, or its journal can't be read.
    """
    run_dir = RunDir(config.absolute().parent)
    if config.name != run_dir.config.name or not run_dir.journal.is_file():
        return None
    header, *later = [*read_journal(run_dir.journal)] or [{}]
    if not run_dir.code.is_file():
        raise UsageError(
            f"{config} lies in a run directory, which has kept no code (code.zip); copy the config "
            "to where its code lies"
        )
    codes = {r["code"] for r in later if r["type"] == "Resumed" and r.get("code")}
    first = (header.get("code") or {}).get("digest")
    folder = Path(header.get("config_dir", run_dir.path))
    return Archived(folder, unpacked(run_dir), bool(codes - {first}) and bool(first))


def unpacked(run_dir: RunDir) -> Path:
    """Unpack the code that a run began with into a folder that goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="dotrain-archived-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        with zipfile.ZipFile(io.BytesIO(run_dir.read_code())) as archive:
            archive.extractall(folder)
    except (zipfile.BadZipFile, OSError) as error:
        raise UsageError(f"{run_dir.code} can't be unpacked: {error}") from None
    return folder
