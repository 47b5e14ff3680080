"""One trial's folder on this machine, and what of it is kept in the storage: one is made like the other.

It runs where the trial does. What counts of what it has written, its caller says.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, final
from urllib.parse import quote

from dotrain.store.files import UNSURE, Plan, Stamp, as_known, is_below, make_plan, turned
from dotrain.store.folder import Folder
from dotrain.store.manifest import Manifest, Stored, after, entries_of
from dotrain.store.run_dir import CHECKPOINT
from dotrain.store.storage import Changed, Storage

#: The longest that a part of a key, and a key, may be; services and disks have limits near these.
_PART_CHARACTERS, _KEY_CHARACTERS = 200, 800


@dataclass(frozen=True)
class Sent:
    """What has come of sending.

    Attributes:
        manifest: What is in the storage now, and belongs together.
        wrong: What has changed while it was sent, and isn't among it.
        skipped: What can't go anywhere, by path, each with why.
    """

    manifest: Manifest
    wrong: list[str] = field(default_factory=list)
    skipped: Mapping[str, str] = field(default_factory=dict)


class _Tried(NamedTuple):
    """A file that has been sent, or was to be, though not all that it belongs to."""

    stamp: Stamp
    key: str
    stored: Stored | None


@final
class Exchange:
    """Sends files of one trial, and gets them."""

    def __init__(self, trial_id: str, folder: Folder, storage: Storage) -> None:
        """Make it; nothing is known to be alike.

        Args:
            trial_id: The trial.
            folder: Its own, on this machine.
            storage: The run's.
        """
        self._trial_id = trial_id
        self._folder = folder
        self._storage = storage
        self._manifest: dict[str, Stored | None] = {}
        #: What is alike: its stamp as an object, and as a file.
        self._known: dict[str, tuple[Stamp | None, Stamp | None]] = {}
        #: Begins the keys of what is being sent, and what has been so far.
        self._batch = ""
        self._tried: dict[str, _Tried] = {}

    def fetch(self, manifest: Manifest, *, is_chief: bool = True) -> None:
        """Make the folder like what is kept: what else was there goes, but for logs.

        Args:
            manifest: What is kept.
            is_chief: Whether all of it is wanted, or the checkpoint alone.

        Raises:
            StorageError: If it can't be had; what was there is there no less.
            OSError: If it can't be written here.
        """
        self._manifest, self._tried, self._batch = dict(manifest), {}, ""
        self._folder.drop_partial()
        there = self._folder.listing()
        wanted = entries_of(manifest)
        # What was never alike goes, too: an attempt of before may have left it.
        known = {path: self._known.get(path, (UNSURE, UNSURE)) for path in there.entries}
        plan = make_plan(
            wanted,
            there.entries,
            known,
            in_scope=lambda path: is_chief or path.split("/")[0] == CHECKPOINT,
        )
        self._known = {path: both for path, both in known.items() if both[0] is not UNSURE}
        if not plan:
            return
        digests = self._get(plan, manifest)
        copied, wrong = self._folder.commit(plan, digests)
        if wrong:
            stored = manifest[wrong[0]]
            assert stored is not None
            raise self._storage.other_than_written(stored)
        self._known.update({path: (wanted[path], stamp) for path, stamp in copied.items()})
        self._forget(plan)

    def _get(self, plan: Plan, manifest: Manifest) -> dict[str, str | None]:
        digests: dict[str, str | None] = {}
        for path in plan.files:
            stored = manifest[path]
            assert stored is not None
            self._storage.get(stored, self._folder.staged(path))
            digests[path] = stored.digest
        return digests

    def send(self, *, running: bool) -> Sent:
        """Write what is new in the folder to the storage, and say what is there then.

        What was sent before it was broken off isn't sent again by the next call.

        Args:
            running: Whether somebody may still write into the folder.

        Raises:
            StorageError: If it can't be written; nothing has changed then, as far as anybody knows.
        """
        there = self._folder.listing()
        plan = make_plan(
            there.entries,
            entries_of(self._manifest),
            turned(self._known),
            only_changes=True,
            in_scope=lambda path: not any(is_below(path, skipped) for skipped in there.skipped),
        )
        if not plan:
            return Sent(self._manifest, [], there.skipped)
        self._batch = self._batch or secrets.token_hex(4)
        sent: dict[str, Stored] = {}
        wrong: list[str] = []
        for path, stamp in plan.files.items():
            try:
                sent[path] = self._put(path, stamp)
            except Changed:
                wrong.append(path)
        manifest = after(self._manifest, plan, sent, wrong)
        for path, stored in entries_of(manifest).items():
            if path in sent or path in plan.folders:
                self._known[path] = stored, as_known(path, there, running=running)
        if not wrong:
            self._forget(plan)
        self._manifest, self._tried, self._batch = manifest, {}, ""
        return Sent(manifest, wrong, there.skipped)

    def _put(self, path: str, stamp: Stamp) -> Stored:
        tried = self._tried.get(path)
        if tried is not None and tried.stamp != stamp:
            # What was sent before may still be under way: it must not take the place of this.
            key = key_of(self._trial_id, secrets.token_hex(4), path)
        elif tried is not None:
            if tried.stored is not None:
                return tried.stored
            key = tried.key
        else:
            key = key_of(self._trial_id, self._batch, path)
        self._tried[path] = _Tried(stamp, key, None)
        stored = self._storage.put(key, self._folder.file(path), stamp)
        self._tried[path] = _Tried(stamp, key, stored)
        return stored

    def _forget(self, plan: Plan) -> None:
        for path in plan.removed:
            self._known.pop(path, None)


def key_of(trial_id: str, batch: str, path: str) -> str:
    """Return the key of a file: readable, and without what some service takes for something else.

    Args:
        trial_id: The trial.
        batch: What was sent together; random.
        path: Below the trial's folder.
    """
    parts = [quote(os.fsencode(part), safe="=+,@") for part in path.split("/")]
    parts = [part if len(part) <= _PART_CHARACTERS else _short(part) for part in parts]
    below = "/".join(parts)
    return f"{trial_id}/{batch}/{below if len(below) <= _KEY_CHARACTERS else _short(path)}"


def _short(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()
