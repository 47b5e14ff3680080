"""One trial's folder as a place that files are copied from and to: whole or absent, and nowhere else.

Paths come from another machine. None leads out of the folder: neither by its name nor over a link.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import final

from dotrain.store.files import (
    PARTIAL,
    Entries,
    Listing,
    Piece,
    Plan,
    Stamp,
    checkpoint_of,
    is_below,
    is_log,
    path_problem,
)
from dotrain.store.run_dir import CHECKPOINT

#: How much of a file is read at once for its digest, in bytes.
_BLOCK_BYTES = 1_000_000


@final
class Folder:
    """A trial's folder, and beside it one for what isn't whole yet."""

    def __init__(self, root: Path, staging: Path) -> None:
        """Make nothing yet.

        Args:
            root: The trial's folder; it needn't exist.
            staging: On the same disk, for this trial alone; it needn't exist.
        """
        self._root = root
        self._staging = staging

    # ---- as a source ----

    def listing(self) -> Listing:
        """Return what is there; of a folder that isn't, nothing."""
        entries: dict[str, Stamp | None] = {}
        logs: dict[str, int] = {}
        skipped: dict[str, str] = {}
        taken_ns = time.time_ns()
        top = os.path.realpath(self._root)

        def walk(folder: str, prefix: str, above: frozenset[str]) -> None:
            with os.scandir(folder) as found:
                for entry in sorted(found, key=lambda one: one.name):
                    if entry.name.startswith(PARTIAL):
                        continue
                    path = prefix + entry.name
                    try:
                        take(entry.path, path, above)
                    except FileNotFoundError:
                        continue  # it has gone in between, or is a link to nothing
                    except OSError as error:
                        skipped[path] = str(error.strerror)

        def take(place: str, path: str, above: frozenset[str]) -> None:
            real = os.path.realpath(place)
            if not is_below(real, top):
                skipped[path] = "leads out of the trial's folder"
                return
            found = os.stat(real)
            if stat.S_ISDIR(found.st_mode):
                if real in above:
                    skipped[path] = "leads back to a folder above it"
                    return
                entries[path] = None
                walk(real, f"{path}/", above | {real})
            elif not stat.S_ISREG(found.st_mode):
                skipped[path] = "is no file"
            elif not os.access(real, os.R_OK):
                skipped[path] = "can't be read"
            elif is_log(path):
                logs[path] = found.st_size
            else:
                entries[path] = _stamp(found)

        with contextlib.suppress(FileNotFoundError):
            walk(top, "", frozenset({top}))
        return Listing(entries, logs, skipped, taken_ns)

    def read(self, pieces: Iterable[Piece]) -> list[bytes | None]:
        """Return the bytes of each piece; None where the file is gone, or shorter by now."""
        return [self._read(piece) for piece in pieces]

    def _read(self, piece: Piece) -> bytes | None:
        try:
            with open(self._inside(piece.path), "rb") as file:
                data = os.pread(file.fileno(), piece.length, piece.offset)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return data if len(data) == piece.length else None

    def digests(self, sizes: Mapping[str, int]) -> dict[str, str | None]:
        """Return the SHA-256 of the beginning of each file; None where it is gone, or shorter.

        Args:
            sizes: How many bytes of it, by path.
        """
        found: dict[str, str | None] = {}
        for path, size in sizes.items():
            try:
                found[path] = _digest(self._inside(path), size)
            except (FileNotFoundError, NotADirectoryError):
                found[path] = None
        return found

    # ---- as a target ----

    def write(self, pieces: Sequence[tuple[str, int, bytes]]) -> None:
        """Take parts of files, each with path and offset; nobody sees them yet."""
        for path, offset, data in pieces:
            file = self._staged(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                _write_all(number, data, offset)
            finally:
                os.close(number)

    def commit(self, plan: Plan, digests: Mapping[str, str | None]) -> tuple[Entries, list[str]]:
        """Let everything be seen that has come whole, and remove what is to go if all has.

        Checkpoints come last: what a trial has reported before one is there, then.

        Args:
            plan: What was to come.
            digests: Of each file where it came from, after it was read.

        Returns:
            What is there now of what was to come; and which files aren't, for they have changed.
        """
        sizes = {path: stamp.size for path, stamp in plan.files.items()}
        staged = {path: _cut_to(self._staged(path), size) for path, size in sizes.items()}
        wrong = [p for p in sizes if staged[p] is None or staged[p] != digests.get(p)]
        torn = {found for path in wrong if (found := checkpoint_of(path))}
        there: dict[str, Stamp | None] = {}
        checkpoints: dict[str, None] = {}
        try:
            for path, stamp in plan.files.items():
                if path in wrong or checkpoint_of(path) in torn:
                    continue
                os.chmod(self._staged(path), stamp.mode)
                if (whole := checkpoint_of(path)) is not None:
                    checkpoints[whole] = None
                else:
                    self._move(path)
                there[path] = None
            for path in plan.folders:
                if (whole := checkpoint_of(path)) is None:
                    self._make_folder(path)
                elif whole not in torn:
                    self._staged(path).mkdir(parents=True, exist_ok=True)
                    checkpoints[whole] = None
                else:
                    continue
                there[path] = None
            for path in checkpoints:
                self._move(path)
            if not wrong:
                self._remove(plan.removed)
        finally:
            self.drop_partial()
        for path in there:
            seen = os.stat(self._inside(path))
            there[path] = None if stat.S_ISDIR(seen.st_mode) else _stamp(seen)
        return there, wrong

    def append(self, log: str, offset: int, data: bytes) -> None:
        """Write a part of a log where it belongs; twice does no harm."""
        self._root.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
        number = os.open(self._root / self._checked(log), flags, 0o666)
        try:
            _write_all(number, data, offset)
        finally:
            os.close(number)

    def drop_partial(self) -> None:
        """Remove what isn't whole."""
        shutil.rmtree(self._staging, ignore_errors=True)

    # ---- paths ----

    def staged(self, path: str) -> Path:
        """Return where a file may be written that isn't to be seen before `commit`."""
        place = self._staged(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def file(self, path: str) -> Path:
        """Return where a file of the folder lies."""
        return self._inside(path)

    def _checked(self, path: str) -> str:
        if (problem := path_problem(path)) is not None:
            raise ValueError(problem)
        return path

    def _staged(self, path: str) -> Path:
        return self._staging / self._checked(path)

    def _inside(self, path: str) -> Path:
        """Return where a path leads.

        Raises:
            ValueError: If that isn't in the folder.
        """
        place = self._root / self._checked(path)
        if not is_below(os.path.realpath(place), os.path.realpath(self._root)):
            raise ValueError(f"{path!r} leads out of {self._root}")
        return place

    # ---- changes ----

    def _move(self, path: str) -> None:
        """Let what is whole be seen, in the place of what was there."""
        place = self._root / self._checked(path)
        self._clear_way_to(path)
        self._inside(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir() and not place.is_symlink():
            self._put_aside(place)
        os.replace(self._staged(path), place)

    def _make_folder(self, path: str) -> None:
        place = self._root / self._checked(path)
        self._clear_way_to(path)
        self._inside(path)
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            place.unlink()
        place.mkdir(parents=True, exist_ok=True)

    def _clear_way_to(self, path: str) -> None:
        """Remove a file that stands where a folder above is to be."""
        for parent in list((self._root / path).parents)[: path.count("/")]:
            if parent.is_file() or (parent.is_symlink() and not parent.exists()):
                parent.unlink()

    def _remove(self, paths: Sequence[str]) -> None:
        whole = {path for path in paths if checkpoint_of(path) == path}
        for path in whole:
            self._put_aside(self._inside(path))
        for path in paths:
            if checkpoint_of(path) in whole:
                continue
            place = self._inside(path)
            with contextlib.suppress(OSError):  # a folder that still has something in it stays
                if place.is_dir() and not place.is_symlink():
                    place.rmdir()
                else:
                    place.unlink()

    def _put_aside(self, place: Path) -> None:
        """Remove a folder in one step, as far as readers can see."""
        if not place.is_dir():
            return
        aside = place.with_name(f"{PARTIAL}{uuid.uuid4().hex[:8]}")
        os.replace(place, aside)
        shutil.rmtree(aside, ignore_errors=True)


def remove_others(trials: Path, trial_id: str) -> None:
    """Remove the folders of all trials but one; what can't be, stays."""
    with contextlib.suppress(FileNotFoundError):
        for folder in list(trials.iterdir()):
            if folder.name != trial_id:
                shutil.rmtree(folder, ignore_errors=True)


def checkpoint_names(root: Path) -> list[str]:
    """Return the names in a trial's folder of checkpoints."""
    try:
        return os.listdir(root / CHECKPOINT)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _stamp(found: os.stat_result) -> Stamp:
    # No file is made that runs as its owner: another machine says what is in it.
    mode = stat.S_IMODE(found.st_mode) & 0o777
    return Stamp(found.st_size, mode, found.st_ctime_ns, found.st_ino)


def _digest(file: Path, size: int) -> str | None:
    digest = hashlib.sha256()
    with open(file, "rb") as opened:
        while size > 0 and (block := opened.read(min(size, _BLOCK_BYTES))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest() if size == 0 else None


def _cut_to(file: Path, size: int) -> str | None:
    """Cut off what a copy has left that broke off before, and return the digest; None if it is gone."""
    try:
        if file.stat().st_size > size:
            os.truncate(file, size)
        return _digest(file, size)
    except FileNotFoundError:
        return None


def _write_all(number: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(number, view, offset)
        view, offset = view[written:], offset + written
