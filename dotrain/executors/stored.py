"""Trials that run on this machine, and whose files are kept in a storage."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import final

from dotrain.executors.patience import PATIENCE_S, Patience, waiting_text
from dotrain.store import RunDir
from dotrain.store.exchange import Exchange
from dotrain.store.files import PIECE_BYTES, Piece, newest_checkpoint
from dotrain.store.folder import Folder, checkpoint_names
from dotrain.store.kept import Kept
from dotrain.store.manifest import unnamed
from dotrain.store.storage import Storage, StorageError
from dotrain.temporary import Kind, OwnFolder
from dotrain.training.program import Program

#: How often it is looked what is new in a trial's folder, in seconds.
FOLLOW_S = 1.0


class FilesLost(Exception):
    """Files of a trial can't be had, or can't be kept."""


class _Trial:
    """What is known of a trial that runs here, or did last.

    Attributes:
        lock: One thing at a time.
        exchange: With the storage.
        checkpoint: The newest that has been sent.
    """

    def __init__(self, trial_id: str, here: Folder, home: Folder, storage: Storage) -> None:
        self.lock = threading.Lock()
        self.exchange = Exchange(trial_id, here, storage)
        self.checkpoint: str | None = None
        self._here, self._home = here, home
        #: Of each log, how long it was at home when the attempt began, and what has come since.
        self._logs: dict[str, tuple[int, int]] = {}
        self._before: Mapping[str, int] = {}

    def begin(self) -> None:
        """Note how long the logs at home are; there are none here."""
        self._before, self._logs = self._home.listing().logs, {}
        self.checkpoint = None

    def bring_logs(self) -> None:
        """Bring home what was printed."""
        for name, size in self._here.listing().logs.items():
            start, done = self._logs.get(name, (self._before.get(name, 0), 0))
            if size == 0:  # messages name it all the same
                self._home.append(name, start, b"")
            while done < size:
                length = min(PIECE_BYTES, size - done)
                (data,) = self._here.read([Piece(name, done, length)])
                if data is None:
                    break
                self._home.append(name, start + done, data)
                done += length
            self._logs[name] = start, done


@final
class StoredHere:
    """Gets what an attempt goes on from, and keeps what comes of it; used on any thread.

    Attributes:
        run_dir: Where the trials write.
    """

    def __init__(self, program: Program, say: Callable[[str], None], *, copies: int = 1) -> None:
        """Make the folder.

        Args:
            program: With a storage.
            say: Tells people.
            copies: Of how many trials that don't run the files stay here.

        Raises:
            OSError: If it can't be made.
        """
        assert program.storage is not None
        self._private = OwnFolder(Kind.FILES)
        self.run_dir = RunDir(self._private.path)
        self._home = RunDir(Path(program.run_dir))
        self._storage = Storage(program.storage)
        self._kept = Kept(self._home, self._storage)
        self._say = say
        self._copies = copies
        self._trials: dict[str, _Trial] = {}
        self._idle: list[str] = []
        self._lock = threading.Lock()
        self._is_closing = threading.Event()

    def inside(self, program: Program) -> Program:
        """Return the program with this folder in the place of the run directory."""
        return replace(program, run_dir=str(self.run_dir.path))

    def hand_out(self, trial_id: str, wanted: Callable[[], bool] = lambda: True) -> None:
        """Get what an attempt goes on from.

        Args:
            trial_id: The trial; nothing of it runs.
            wanted: Whether it is still to begin.

        Raises:
            FilesLost: If that can't be had.
            OSError: If the run directory or this machine's disk has something against it.
        """
        trial = self._trial(trial_id)
        with trial.lock:
            here = self._folder(trial_id)
            for name in here.listing().logs:
                here.file(name).unlink(missing_ok=True)
            trial.begin()
            manifest = self._kept.manifest(trial_id)
            self._patiently(lambda: trial.exchange.fetch(manifest), wanted)

    def follow(self, trial_id: str) -> None:
        """Bring home what an attempt has printed; keep its newest checkpoint, if it is new.

        Raises:
            OSError: If the run directory has something against it.
        """
        with self._lock:
            trial = self._trials.get(trial_id)
        if trial is None or not trial.lock.acquire(blocking=False):
            return  # it has just ended, or it is being done
        try:
            trial.bring_logs()
            newest = newest_checkpoint(checkpoint_names(self.run_dir.trial_dir(trial_id)))
            if newest not in (None, trial.checkpoint):
                try:
                    wrong, _ = self._keep(trial_id, trial, running=True)
                except StorageError:
                    return  # it is kept later
                if not wrong:
                    trial.checkpoint = newest
        finally:
            trial.lock.release()

    def bring_home(self, trial_id: str, *, is_chief: bool = True) -> Mapping[str, str]:
        """Keep all that isn't, now that nothing of a rank is left.

        Args:
            trial_id: The trial.
            is_chief: Whether the files are that rank's.

        Returns:
            What can't be kept, by path, each with why.

        Raises:
            FilesLost: If it can't be.
            OSError: If the run directory has something against it.
        """
        trial = self._trial(trial_id)
        with trial.lock:
            trial.bring_logs()
            if not is_chief:
                return {}
            found: list[tuple[list[str], Mapping[str, str]]] = []
            self._patiently(
                lambda: found.append(self._keep(trial_id, trial, running=False)), lambda: True
            )
            wrong, skipped = found[-1]
            if wrong:
                raise FilesLost(f"{wrong[0]} has changed while it was sent, though nothing runs")
        self._retire(trial_id)
        return skipped

    def close(self) -> None:
        """Remove the folder."""
        self._private.remove()

    def hurry(self) -> None:
        """Wait for no storage any more, or only for a moment."""
        self._is_closing.set()

    # ---- one trial ----

    def _folder(self, trial_id: str, run_dir: RunDir | None = None) -> Folder:
        at = run_dir or self.run_dir
        return Folder(at.trial_dir(trial_id), at.arriving / trial_id)

    def _trial(self, trial_id: str) -> _Trial:
        with self._lock:
            if trial_id in self._idle:
                self._idle.remove(trial_id)
            if trial_id not in self._trials:
                here, home = self._folder(trial_id), self._folder(trial_id, self._home)
                self._trials[trial_id] = _Trial(trial_id, here, home, self._storage)
            return self._trials[trial_id]

    def _retire(self, trial_id: str) -> None:
        """Keep the files of the trials that have run last; those that others may promote are few."""
        with self._lock:
            self._idle = [*(one for one in self._idle if one != trial_id), trial_id]
            gone, self._idle = self._idle[: -self._copies], self._idle[-self._copies :]
            for one in gone:
                del self._trials[one]
                # Under the lock: who goes on with it meanwhile would lose what was handed out.
                shutil.rmtree(self.run_dir.trial_dir(one), ignore_errors=True)

    def _keep(
        self, trial_id: str, trial: _Trial, *, running: bool
    ) -> tuple[list[str], Mapping[str, str]]:
        sent = trial.exchange.send(running=running)
        before = self._kept.manifest(trial_id)
        if sent.manifest != before:
            self._kept.write_manifest(trial_id, sent.manifest, sync=True)
            with contextlib.suppress(StorageError):  # it goes when the run next goes on
                self._storage.remove(unnamed(before, sent.manifest))
        return sent.wrong, sent.skipped

    def _patiently(self, call: Callable[[], None], wanted: Callable[[], bool]) -> None:
        patience, is_said = Patience(time.monotonic(), PATIENCE_S), False
        while wanted():
            try:
                return call()
            except StorageError as error:
                if is_last := self._is_closing.is_set():
                    patience.hurry(time.monotonic())
                delay_s = patience.next_delay_s(time.monotonic())
                if delay_s is None or not error.passes:
                    raise FilesLost(f"storage: {error}") from error
                if not is_said:
                    is_said = True
                    self._say(waiting_text(str(error), patience.bound_s))
                time.sleep(delay_s) if is_last else self._is_closing.wait(delay_s)


def not_kept_text(trial_id: str, skipped: Mapping[str, str]) -> str:
    """Say what of a trial stays where it is.

    Args:
        trial_id: The trial.
        skipped: Each path, and why.
    """
    return f"{trial_id}: not kept: " + ", ".join(f"{path} ({why})" for path, why in skipped.items())
