"""What a run needs of the file system that it lies on: tried out before it begins, and goes on."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dotrain.errors import UsageError

#: How the name of a folder begins in which a file system is tried.
TRIED = ".place-"
#: What is nothing to do with the kind of file system, and is said by whoever writes there next.
_FOR_OTHERS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_place(folder: Path, advice: str) -> None:
    """Refuse a folder where two could drive a run at once, or a file could lose what it held.

    Args:
        folder: The run directory; a folder is made in it, and removed.
        advice: What to do then.

    Raises:
        UsageError: With everything that doesn't hold there.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=TRIED, dir=folder) as made:
            problems = list(_broken_promises(Path(made)))
    except OSError as error:
        if error.errno in _FOR_OTHERS:
            return
        problems = [f"{error.strerror} where files are made, renamed and removed"]
    if problems:
        raise UsageError(f"{folder} can't hold a run: {'; '.join(problems)}. {advice}")


def _broken_promises(place: Path) -> Iterator[str]:
    for holds in (_locks, _appends, _replaces):
        try:
            problem = holds(place)
        except OSError as error:
            if error.errno in _FOR_OTHERS:
                raise
            problem = f"its file system fails where {_WHAT[holds]} ({error.strerror})"
        if problem:
            yield problem


def _locks(place: Path) -> str:
    path = place / "locked"
    with open(path, "ab") as one, open(path, "ab") as other:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            # Of another open file, as another process has it.
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return ""
    return "its file system gives a lock to two at once, so two could drive the run"


def _appends(place: Path) -> str:
    path = place / "appended"
    with open(path, "ab", buffering=0) as one, open(path, "ab", buffering=0) as other:
        for file, text in (one, b"first\n"), (other, b"second\n"), (one, b"torn"):
            file.write(text)
        whole = path.read_bytes()
        os.truncate(path, len(b"first\nsecond\n"))
        other.write(b"third\n")
    if (whole, path.read_bytes()) == (b"first\nsecond\ntorn", b"first\nsecond\nthird\n"):
        return ""
    return "its file system doesn't keep what is appended to a file, so records could be lost"


def _replaces(place: Path) -> str:
    new, old = place / "new", place / "old"
    old.write_bytes(b"old")
    new.touch()  # empty: some systems wait for the disk where one with data takes a place
    os.replace(new, old)
    if old.read_bytes() == b"" and not new.exists():
        return ""
    return "its file system doesn't put a file in the place of another"


#: What is tried, in the words of a message.
_WHAT = {
    _locks: "a file is locked",
    _appends: "a file is appended to and cut",
    _replaces: "a file takes the place of another",
}
