"""One copy of the unpacked code for all processes of a host that run it.

Several workers of a host, and several runs of the same code, share a folder. It lies in one that no other
user can enter, is made aside and renamed, and is compared with the archive, file by file, before it is
used: whatever a killed process has left is never taken for what it isn't. A lock on a file beside it is
held, shared, by all who use it, and by what they fork; the operating system lets go of it however they end.
Whoever gets it alone removes the folder.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dotrain.temporary import Kind, OwnFolder
from dotrain.usercode.archive import Code, is_whole, unpack

#: How the names of folders with unpacked code begin.
PREFIX = "dotrain-code-"

#: How often a folder is looked for that others make and remove meanwhile.
_TRIES = 20


@dataclass(frozen=True)
class _Held:
    folder: Path
    #: Of the open file that is locked; of a folder that nobody shares, the folder itself.
    lock: int | OwnFolder
    pid: int


#: What this process uses, and how often it has been taken.
_held: dict[Path, list[_Held]] = {}


def temporary() -> str:
    """Return how the paths of all folders with unpacked code begin."""
    return os.path.join(os.path.realpath(tempfile.gettempdir()), PREFIX)


def take(code: Code) -> Path:
    """Return a folder with the user's code, for as long as this process and its forks live.

    Args:
        code: The user's files.

    Raises:
        zipfile.BadZipFile: If the archive is damaged.
        OSError: If there is no room for it.
    """
    held = _shared(code) or _unshared(code)
    _held.setdefault(held.folder, []).append(held)
    atexit.register(release, held.folder)
    return held.folder


def release(folder: Path) -> None:
    """Let go of a folder; the last who does removes it.

    Args:
        folder: What `take` returned; does nothing if it has been let go, or was taken before a fork.
    """
    taken = _held.get(folder, [])
    if not taken or taken[-1].pid != os.getpid():
        return
    held = taken.pop()
    if isinstance(held.lock, OwnFolder):
        held.lock.remove()
        return
    with contextlib.suppress(OSError):
        lock = _lock_of(folder)
        if _is_alone(held.lock) and _is_at(held.lock, lock):
            _remove(folder, lock)
    os.close(held.lock)


def _unshared(code: Code) -> _Held:
    own = OwnFolder(Kind.CODE)
    try:
        return _Held(unpack(code.archive, own.path), own, os.getpid())
    except BaseException:
        own.remove()
        raise


def _shared(code: Code) -> _Held | None:
    """Return the folder of all who run this code; None if there can be none."""
    try:
        outer = _own_folder()
        if outer is None or code.digest is None:
            return None
        folder = outer / code.digest
        _sweep(outer, but=folder)
        for _ in range(_TRIES):
            if (held := _try(folder, code)) is not None:
                return held
    except OSError:  # a file system without locks, say
        pass
    return None


def _try(folder: Path, code: Code) -> _Held | None:
    path = _lock_of(folder)
    lock = _opened(path)
    try:
        if _is_alone(lock) and _is_at(lock, path) and not is_whole(folder, code.files):
            _remove(folder, None)
            os.rename(unpack(code.archive, folder.parent, f"{folder.name}.new-"), folder)
        # Not at once where it was held alone: others may come, and remove it, in between.
        fcntl.flock(lock, fcntl.LOCK_SH)
        if _is_at(lock, path) and is_whole(folder, code.files):
            return _Held(folder, lock, os.getpid())
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _own_folder() -> Path | None:
    """Return a folder that nobody else can enter; None if somebody else has made it."""
    path = Path(f"{temporary()}{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return path if is_ours and not stat.S_IMODE(found.st_mode) & 0o077 else None


def _sweep(outer: Path, but: Path) -> None:
    """Remove what nobody holds: its users were killed."""
    for name in {entry.name.split(".")[0] for entry in outer.iterdir()} - {but.name}:
        folder = outer / name
        with contextlib.suppress(OSError):
            path = _lock_of(folder)
            lock = _opened(path)
            try:
                if _is_alone(lock) and _is_at(lock, path):
                    _remove(folder, path)
            finally:
                os.close(lock)


def _remove(folder: Path, lock: Path | None) -> None:
    """Remove a folder, and what was left beside it on the way to it; its lock is held alone."""
    for left in folder.parent.glob(f"{folder.name}.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        # Under another name first: half of it would have the right one.
        aside = folder.with_name(f"{folder.name}.new-gone")
        os.rename(folder, aside)
        shutil.rmtree(aside, ignore_errors=True)
    if lock is not None:
        lock.unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(lock: int, path: Path) -> bool:
    """Whether an open file is still what has this name: who removes a folder removes its lock."""
    try:
        return os.path.samestat(os.fstat(lock), path.lstat())
    except FileNotFoundError:
        return False
