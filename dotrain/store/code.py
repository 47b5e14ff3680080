"""The code of a run: kept in its directory, compared when the run goes on, run once more from there."""

from __future__ import annotations

import atexit
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotrain.errors import UsageError
from dotrain.store.journal import Record, read_journal
from dotrain.store.places import config_folders
from dotrain.store.run_dir import RunDir, replace_file
from dotrain.temporary import Kind, OwnFolder, sweep
from dotrain.usercode.archive import Code, changes, digest_of, digests_in, unpack


@dataclass(frozen=True)
class RanLast:
    """The code with which a run launched its newest attempts.

    Attributes:
        digest: Of the whole; None where there was none, or nothing tells.
        files: The SHA-256 of each file, by its name in the archive; None where nothing tells.
        began_with: Digest of the code that the run began with.
        archive: Where it is kept.
    """

    digest: str | None
    files: Mapping[str, str] | None
    began_with: str | None
    archive: Path

    def changes(self, now: Mapping[str, str], digest: str | None) -> list[str]:
        """Return the files of other code that differ, each with how.

        Args:
            now: The SHA-256 of each of its files, by name.
            digest: Of the whole.
        """
        if not digest or digest == self.digest:
            return []
        if self.files is not None:
            return changes(self.files, now)
        lost = f"which files can't be told: {self.archive.name} is damaged or missing"
        return [lost] if self.digest else []


def ran_last(run_dir: RunDir, records: Iterable[Record]) -> RanLast:
    """Return what code a run launched its newest attempts with; before the first, what it began with.

    Args:
        run_dir: The run directory.
        records: The journal, header included.
    """
    header, *later = records
    known = (header.get("code") or {}).get("files")
    first = digests_in(run_dir.read_code()) or None if known is None else known
    began_with = driven_with = last = digest_of(first or {})
    for record in later:
        # A driver that launched nothing, to judge a finished run, say, ran none.
        if record["type"] == "Resumed":
            driven_with = record.get("code") or driven_with
        elif record["type"] == "Launch":
            last = driven_with
    if last is None or last == began_with:
        return RanLast(last, first, began_with, run_dir.code)
    files = digests_in(run_dir.read_code(last))
    is_whole = digest_of(files) == last
    return RanLast(last, files if is_whole else None, began_with, run_dir.later_code(last))


def keeps_to_its_archive(records: Iterable[Record]) -> bool:
    """Whether a run was told to run the code that it has kept, whatever lies about.

    Args:
        records: The journal, header included.
    """
    header, *later = records
    told = [bool((header.get("code") or {}).get("archived"))]
    told += (r["archived"] for r in later if r["type"] == "Resumed" and "archived" in r)
    return told[-1]


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
        code: The user's code as it is to run.
        records: The journal, header included.
    """
    header, *later = records
    ran = ran_last(run_dir, [header, *later])
    if code.digest and code.digest != ran.began_with:
        replace_file(run_dir.later_code(code.digest), code.archive)
    is_told = (header.get("code") or {}).get("files") is not None
    return GoingOn(
        ran.changes(code.files, code.digest),
        None if is_told else ran.began_with,
        is_first=code.digest == ran.began_with,
    )


@dataclass(frozen=True)
class Unpacked:
    """Code that a run has kept, unpacked until this process ends.

    Attributes:
        folder: Where.
        files: Maps each file to its name in the archive.
    """

    folder: Path
    files: Mapping[Path, str]


@dataclass(frozen=True)
class Archived:
    """A config that lies in a run directory.

    Attributes:
        folders: Where its relative paths may start from: where the config lay that the run began
            with, as far as it can be found.
        code: The run's own code.
        went_on_otherwise: Whether later trials of the run ran other code.
    """

    folders: list[Path]
    code: Unpacked
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
    folders = config_folders(run_dir.path, header)
    otherwise = bool(codes - {first}) and bool(first)
    return Archived(folders, unpacked(run_dir.code, first), otherwise)


def unpacked(file: Path, digest: str | None) -> Unpacked:
    """Unpack code that a run has kept into a folder that goes when this process ends.

    Args:
        file: The archive.
        digest: Of the code, where it is known.

    Raises:
        UsageError: If it is damaged, or isn't what ran.
    """
    try:
        archive = file.read_bytes()
        own = OwnFolder(Kind.ARCHIVED)
        atexit.register(own.remove)
        sweep()
        folder = unpack(archive, own.path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UsageError(f"{file} can't be unpacked: {error}") from None
    files = digests_in(archive)
    if digest and digest_of(files) != digest:
        raise UsageError(f"{file} isn't the code that ran, which the journal calls {digest}")
    return Unpacked(folder, {folder / name: name for name in files})
