"""A trial's checkpoints in its directory: which there are, and freeing them.

A checkpoint is a folder ``step-000000009`` that appears and goes in one piece: it is written, and
removed, under another name. Nothing else in a trial's directory is touched here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from dotrain.store.files import CHECKPOINT_NAME, PARTIAL


class Saved(NamedTuple):
    """A checkpoint: steps that are done, times that it was saved again, its folder."""

    step: int
    again: int
    folder: Path


def checkpoints_in(directory: Path) -> list[Saved]:
    """Return the checkpoints of a trial, the newest last.

    Args:
        directory: ``RunDir.checkpoint`` of the trial.
    """
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = (match for name in names if (match := CHECKPOINT_NAME.fullmatch(name)))
    return sorted(Saved(int(m[1]), int(m[2] or 0), directory / m[0]) for m in found)


def newest_up_to(step: int, saved: Iterable[Saved]) -> Saved | None:
    """Return the newest checkpoint of so many steps or less, or None."""
    return max((one for one in saved if one.step <= step), default=None)


def name_of(step: int, again: int) -> str:
    """Return the name of a checkpoint's folder."""
    return f"step-{step:09d}" + (f".{again}" if again else "")


def partial_name() -> str:
    """Return a new name for what is no checkpoint yet, or no more."""
    return f"{PARTIAL}{uuid.uuid4().hex[:8]}"


def is_partial(name: str) -> bool:
    """Whether a folder of that name is no checkpoint yet, or no more."""
    return name.startswith(PARTIAL)


def discard(checkpoint: Path) -> None:
    """Let a checkpoint be none, in one step; removing it takes several, and half of it is none."""
    os.replace(checkpoint, checkpoint.with_name(partial_name()))


def sweep(directory: Path) -> None:
    """Remove what is no checkpoint: leftovers of a process that died, and what was discarded."""
    for leftover in directory.glob(f"{PARTIAL}*"):
        if leftover.is_symlink():
            leftover.unlink(missing_ok=True)
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def size_of(directory: Path) -> int:
    """Return the bytes of all checkpoints of a trial."""
    total = 0
    for saved in checkpoints_in(directory):
        for folder, _, names in os.walk(saved.folder):
            for name in names:
                with contextlib.suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
    return total


def discard_all(directory: Path) -> None:
    """Let a trial have no checkpoints; killed on the way, the newest is whole or absent.

    Raises:
        OSError: If one can't be discarded; it is whole then.
    """
    for saved in checkpoints_in(directory):
        discard(saved.folder)


def clear(directory: Path) -> None:
    """Remove what was discarded, which may take long; of a trial that runs no more."""
    sweep(directory)
    with contextlib.suppress(OSError):  # there is none, or something in it isn't ours
        os.rmdir(directory)
