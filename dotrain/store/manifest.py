"""What is kept of a trial in the storage that a config names: which path is which object.

Pure. An object's key is never used twice, so what a manifest names stays what it is, whoever still
writes; what no manifest names is of no use to anybody.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from dotrain.store.files import (
    CHECKPOINT_NAME,
    Entries,
    Plan,
    Stamp,
    checkpoint_of,
    newest_checkpoint,
    path_problem,
)
from dotrain.store.run_dir import CHECKPOINT

_FORMAT = 1


class Stored(NamedTuple):
    """An object, and the file that it is a copy of.

    Attributes:
        key: Its name below the run's own part of the storage.
        size: In bytes.
        mode: Who may read, write, execute the file.
        digest: SHA-256 of what it holds.
    """

    key: str
    size: int
    mode: int
    digest: str


#: What is kept of a trial, by path below its folder; None for a folder.
Manifest = Mapping[str, Stored | None]


def to_json(manifest: Manifest) -> str:
    """Return a manifest as it lies in the run directory."""
    files = {path: [*one] for path, one in manifest.items() if one is not None}
    folders = [path for path, one in manifest.items() if one is None]
    return json.dumps({"format": _FORMAT, "folders": folders, "files": files}, indent=1) + "\n"


def from_json(text: str) -> dict[str, Stored | None]:
    """Return a manifest that was read.

    Raises:
        ValueError: If it is none.
    """
    found: dict[str, Any] = json.loads(text)
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise ValueError("it is of a newer dotrain, or no list of files at all")
    files = {path: Stored(*one) for path, one in found["files"].items()}
    manifest = {**dict.fromkeys(found["folders"]), **files}
    for path in (*manifest, *(one.key for one in files.values())):
        if (problem := path_problem(path)) is not None:
            raise ValueError(problem)
    return manifest


def entries_of(manifest: Manifest) -> Entries:
    """Return the same as what lies in a folder; the stamp of a file changes with its object."""
    return {path: one and _stamp(one) for path, one in manifest.items()}


def _stamp(one: Stored) -> Stamp:
    number = int.from_bytes(hashlib.sha256(one.key.encode()).digest()[:8], "big")
    return Stamp(one.size, one.mode, 0, number)


def after(
    manifest: Manifest, plan: Plan, sent: Mapping[str, Stored], wrong: Iterable[str]
) -> dict[str, Stored | None]:
    """Return what is kept when what was planned has been done, as far as it has.

    Checkpoints are whole or absent, and nothing is removed before all that was to come is there.

    Args:
        manifest: Of before.
        plan: What was to be done.
        sent: The objects that are there now, by path.
        wrong: What isn't there, for it has changed meanwhile.
    """
    wrong = list(wrong)
    torn = {found for path in wrong if (found := checkpoint_of(path))}
    new = {**dict.fromkeys(plan.folders), **sent}
    come = {path: one for path, one in new.items() if checkpoint_of(path) not in torn}
    removed = () if wrong else plan.removed
    return {p: one for p, one in {**manifest, **come}.items() if p not in removed}


def unnamed(before: Manifest, now: Manifest) -> list[str]:
    """Return the keys that one manifest names, and the next doesn't."""
    return sorted(keys_of(before) - keys_of(now))


def keys_of(manifest: Manifest) -> set[str]:
    """Return the keys that a manifest names."""
    return {one.key for one in manifest.values() if one is not None}


def saved_in(manifest: Manifest) -> dict[int, str]:
    """Return the names of the checkpoints by their steps, of several of a step the newest."""
    names = {path.split("/")[1] for path in manifest if checkpoint_of(path)}
    found = sorted(
        (int(m[1]), int(m[2] or 0), m[0]) for m in map(CHECKPOINT_NAME.fullmatch, names) if m
    )
    return {step: name for step, _, name in found}


def newest_in(manifest: Manifest) -> str | None:
    """Return the path of the newest checkpoint, or None."""
    names = {path.split("/")[1] for path in manifest if checkpoint_of(path)}
    newest = newest_checkpoint(names)
    return newest and f"{CHECKPOINT}/{newest}"


def without_checkpoints(manifest: Manifest) -> dict[str, Stored | None]:
    """Return what is left when all checkpoints are freed."""
    return {
        path: one
        for path, one in manifest.items()
        if not (path == CHECKPOINT or checkpoint_of(path))
    }


def checkpoint_bytes(manifest: Manifest) -> int:
    """Return how much all checkpoints hold, in bytes."""
    kept = (one for path, one in manifest.items() if one is not None and checkpoint_of(path))
    return sum(one.size for one in kept)
