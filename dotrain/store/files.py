"""The files of a trial in two places: what differs, and in which pieces it goes from one to the other.

Pure: who reads and writes them is `folder`, who sends them over a network is an executor's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dotrain.store.run_dir import CHECKPOINT

#: How the names begin of what is being written or removed; readers pass over them.
PARTIAL = ".partial-"
#: A checkpoint: the step, and the how-manieth time that it was saved again while it was the newest.
CHECKPOINT_NAME = re.compile(r"step-(\d+)(?:\.(\d+))?")
#: What ranks of a trial have printed; logs grow, and go piece by piece.
_LOG = re.compile(r"output(-rank\d+)?\.log")

#: The most bytes that go at once.
PIECE_BYTES = 4_000_000
#: The most files of which there are bytes in what goes at once.
_FILES_AT_ONCE = 500


class Stamp(NamedTuple):
    """What tells a file from what it was before, in one place.

    Attributes:
        size: In bytes.
        mode: Who may read, write, execute it.
        changed_ns: When it was last changed, in nanoseconds; nobody can set it.
        inode: Its number on its disk.
    """

    size: int
    mode: int
    changed_ns: int
    inode: int


#: What is in a folder and below, by path with ``/`` between: the stamp of a file, None for a folder.
Entries = Mapping[str, Stamp | None]
#: Of entries that are alike in two places, the stamp in the first and in the second.
Known = Mapping[str, tuple[Stamp | None, Stamp | None]]


@dataclass(frozen=True)
class Listing:
    """What is in a trial's folder.

    Attributes:
        entries: But for logs.
        logs: The size of each log, in bytes, by name.
        skipped: What can't go anywhere, by path, each with why.
        taken_ns: When this was found, in nanoseconds since the epoch, as the disk's own clock has it.
    """

    entries: Entries = field(default_factory=dict)
    logs: Mapping[str, int] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    taken_ns: int = 0


@dataclass(frozen=True)
class Plan:
    """What makes one folder like another.

    Attributes:
        files: To copy, each with its stamp in the source.
        folders: To make.
        removed: What goes, files and folders, what lies deeper first.
    """

    files: Mapping[str, Stamp] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.files or self.folders or self.removed)


#: A file that was changed so shortly before it was looked at may change once more without its stamp
#: changing: clocks of disks have ticks. In nanoseconds.
_TICK_NS = 1_000_000_000
#: The stamp of a file that may have changed without its stamp changing.
UNSURE = Stamp(-1, 0, 0, 0)


def as_known(path: str, listing: Listing, *, running: bool) -> Stamp | None:
    """Return by which stamp something that was copied is known, if it is looked at again.

    Args:
        path: What it is.
        listing: As of when it was looked at.
        running: Whether somebody may still change it.
    """
    found = listing.entries[path]
    if found is None or not running or checkpoint_of(path):
        return found
    return found if found.changed_ns < listing.taken_ns - _TICK_NS else UNSURE


class Piece(NamedTuple):
    """A part of a file."""

    path: str
    offset: int
    length: int


def is_log(path: str) -> bool:
    """Whether a path below a trial's folder is that of a log."""
    return _LOG.fullmatch(path) is not None


def is_below(path: str, folder: str) -> bool:
    """Whether a path is another one, or lies below it."""
    return path == folder or path.startswith(f"{folder}/")


def checkpoint_of(path: str) -> str | None:
    """Return the path of the checkpoint that something is, or is a part of; None if of none.

    Checkpoints are whole or absent: they go as one, and nobody changes them.
    """
    parts = path.split("/")
    if len(parts) > 1 and parts[0] == CHECKPOINT and CHECKPOINT_NAME.fullmatch(parts[1]):
        return "/".join(parts[:2])
    return None


def newest_checkpoint(names: Iterable[str]) -> str | None:
    """Return which of the names in the folder of checkpoints is that of the newest, or None."""
    found = [(int(m[1]), int(m[2] or 0), m[0]) for m in map(CHECKPOINT_NAME.fullmatch, names) if m]
    return max(found)[2] if found else None


def make_plan(
    source: Entries,
    target: Entries,
    known: Known,
    *,
    only_changes: bool = False,
    in_scope: Callable[[str], bool] = lambda path: True,
) -> Plan:
    """Return what makes the target like the source.

    What was never alike in both is left where it is: it isn't for the source to remove.

    Args:
        source: What is to be had.
        target: What there is.
        known: What was alike in both, with the stamps of then.
        only_changes: Whether the target keeps what has changed there alone.
        in_scope: Which paths matter.
    """

    def differs(path: str, stamp: Stamp | None) -> bool:
        if only_changes and path in known:
            return known[path][0] != stamp
        if stamp is None:
            return path not in target or target[path] is not None
        return path not in target or known.get(path) != (stamp, target[path])

    wanted = {path: stamp for path, stamp in source.items() if in_scope(path)}
    changed = {path for path, stamp in wanted.items() if differs(path, stamp)}
    whole = {found for path in changed if (found := checkpoint_of(path))}
    changed |= {path for path in wanted if checkpoint_of(path) in whole}
    files = {path: stamp for path, stamp in wanted.items() if stamp is not None and path in changed}
    folders = sorted(path for path in changed if wanted[path] is None)
    gone = [path for path in target if path in known and path not in source and in_scope(path)]
    removed = sorted(gone, key=lambda path: (-path.count("/"), path))
    return Plan(files, tuple(folders), tuple(removed))


def turned(known: Known) -> dict[str, tuple[Stamp | None, Stamp | None]]:
    """Return the same as seen from the other place."""
    return {path: (second, first) for path, (first, second) in known.items()}


def pieces_of(
    sizes: Mapping[str, int], limit_bytes: int = PIECE_BYTES
) -> Iterator[tuple[Piece, ...]]:
    """Yield what goes at once, in order; an empty file is a piece without bytes.

    Args:
        sizes: Of each file in bytes, by path.
        limit_bytes: The most that goes at once, >= 1.
    """
    batch: list[Piece] = []
    left = limit_bytes
    for path, size in sizes.items():
        offset = 0
        while True:
            length = min(left, size - offset)
            batch.append(Piece(path, offset, length))
            offset, left = offset + length, left - length
            if left == 0 or len(batch) == _FILES_AT_ONCE:
                yield tuple(batch)
                batch, left = [], limit_bytes
            if offset == size:
                break
    if batch:
        yield tuple(batch)


def path_problem(path: str) -> str | None:
    """Return what is wrong with a path that another machine has named, or None.

    Only what lies below the folder that it belongs to may be read or written by it.
    """
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        return f"{path!r} is no path below a trial's folder"
    return None
