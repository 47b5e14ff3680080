"""Giving a trial a copy of another one's checkpoint, from which it begins: whole or absent, and never over its own."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dotrain.store.checkpoints import checkpoints_in, newest_up_to, partial_name, sweep
from dotrain.store.exchange import key_of
from dotrain.store.files import is_below
from dotrain.store.kept import Kept
from dotrain.store.manifest import Stored, saved_in
from dotrain.store.run_dir import CHECKPOINT, RunDir

#: How often a checkpoint is looked for that has gone while it was copied.
_TIMES: Final = 3


class NothingToInherit(Exception):
    """The other trial has no such checkpoint."""


class NotWanted(Exception):
    """Nobody waits for the copy any more."""


def inherit(
    run_dir: RunDir, kept: Kept, trial_id: str, lender: str, step: int, wanted: Callable[[], bool]
) -> None:
    """Give a trial a copy of another one's newest checkpoint of so many steps or less.

    Args:
        run_dir: The run directory.
        kept: Where the files of its trials are.
        trial_id: The trial; it has no checkpoint.
        lender: The other one, which may train on meanwhile.
        step: How many steps.
        wanted: Whether to go on; asked before each file.

    Raises:
        NothingToInherit: If there is none.
        NotWanted: If it isn't wanted any more.
        OSError: If a file can't be read or written.
        StorageError: If the storage can't do it.
        ManifestError: If nobody can tell what it has.
    """
    if kept.place is not None:
        return _inherit_there(kept, trial_id, lender, step, wanted)
    source, target = run_dir.checkpoint(lender), run_dir.checkpoint(trial_id)
    for left in reversed(range(_TIMES)):
        saved = checkpoints_in(source)
        found = newest_up_to(step, saved)
        if found is None:
            raise _nothing(bool(saved))
        target.mkdir(parents=True, exist_ok=True)
        sweep(target)
        partial = target / partial_name()
        try:
            _copy(found.folder, partial, wanted)
            os.replace(partial, target / found.folder.name)
            return
        except FileNotFoundError:
            if not left or found.folder.exists():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _copy(source: Path, target: Path, wanted: Callable[[], bool]) -> None:
    """Copy a folder with all that is in it, links as what they lead to."""
    target.mkdir()
    for entry in sorted(os.scandir(source), key=lambda one: one.name):
        if not wanted():
            raise NotWanted
        if entry.is_dir():
            _copy(Path(entry.path), target / entry.name, wanted)
        else:
            shutil.copy2(entry.path, target / entry.name)


def _inherit_there(
    kept: Kept, trial_id: str, lender: str, step: int, wanted: Callable[[], bool]
) -> None:
    """The same within a storage, which copies itself: objects of its own, as the other one's may go."""
    manifest = kept.manifest(lender)
    saved = saved_in(manifest)
    name = saved.get(max((one for one in saved if one <= step), default=-1))
    if name is None:
        raise _nothing(bool(saved))
    storage, batch = kept.storage(), secrets.token_hex(4)
    copied: dict[str, Stored | None] = {CHECKPOINT: None}
    for path, stored in manifest.items():
        if not is_below(path, f"{CHECKPOINT}/{name}"):
            continue
        if not wanted():
            raise NotWanted
        copied[path] = stored and storage.copy(stored, key_of(trial_id, batch, path))
    kept.write_manifest(trial_id, copied, sync=True)


def _nothing(has_others: bool) -> NothingToInherit:
    # Without names and numbers: many trials that fail alike are told of once.
    if has_others:
        return NothingToInherit(
            "the trial that it was to begin from has no checkpoint of its budget any more, only newer ones"
        )
    return NothingToInherit(
        "the trial that it was to begin from has no checkpoint any more: it was freed when the run had finished, or removed"
    )
