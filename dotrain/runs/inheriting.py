"""Launches that wait for a copy of another trial's checkpoint, which a thread makes while others run.

The trial that lends it isn't launched meanwhile: its next attempt might remove the checkpoint.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import final

from dotrain.core.events import Failed, Lost, TrialEvent
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Instruction, Kill, Launch
from dotrain.executors.base import AbstractExecutor
from dotrain.store import RunDir
from dotrain.store.disk import FULL
from dotrain.store.inheriting import NothingToInherit, NotWanted, inherit
from dotrain.store.kept import Kept, ManifestError
from dotrain.store.storage import StorageError


@dataclass(eq=False)
class _Copy:
    """A copy that a launch waits for, and what has gone wrong with it."""

    launch: Launch
    is_wanted: bool = True
    fault: TrialEvent | None = None


@final
class Inheriting:
    """Holds launches back until their trials have what they begin from."""

    def __init__(self, run_dir: RunDir, kept: Kept, executor: AbstractExecutor) -> None:
        """Begin with nothing to copy.

        Args:
            run_dir: The run directory.
            kept: Where the files of its trials are.
            executor: Is woken when a copy is made.
        """
        self._run_dir = run_dir
        self._kept = kept
        self._meanwhile = executor.concurrent
        self._wake: Callable[[], None] = executor.wake
        #: Copies that aren't made, or whose launches haven't been given back.
        self._copies: list[_Copy] = []
        #: Launches of trials that lend one.
        self._held: list[Launch] = []
        self._to_make: SimpleQueue[_Copy | None] = SimpleQueue()
        self._made: deque[_Copy] = deque()
        self._thread: Thread | None = None
        self._is_closing = False

    def holds(self, instruction: Instruction) -> bool:
        """Whether an instruction isn't for the executor, or not yet: `next` gives it back then.

        Args:
            instruction: Is to be carried out.
        """
        match instruction:
            case Launch(trial_id=trial_id) if self._is_lending(trial_id):
                self._held.append(instruction)
            case Launch() if instruction.begins_from and self._lacks(instruction.trial_id):
                self._begin(_Copy(instruction))
            case Kill(trial_id=trial_id, attempt=attempt):
                return self._drop(trial_id, attempt)
            case _:
                return False
        return True

    def next(self) -> Launch | TrialEvent | None:
        """Return what is to be done now: a launch, or an event that ends one; None if there is nothing."""
        while self._copies and not self._meanwhile and not self._to_make.empty():
            self._make(self._to_make.get())
        while self._made:
            copy = self._made.popleft()
            self._copies.remove(copy)
            if copy.is_wanted:
                return copy.fault or copy.launch
        for launch in self._held:
            if not self._is_lending(launch.trial_id):
                self._held.remove(launch)
                return launch
        return None

    def close(self) -> None:
        """Make no more copies; what isn't whole is none, and is made again when the run goes on."""
        self._is_closing = True
        if self._thread is not None:
            self._to_make.put(None)
            self._thread.join()
            self._thread = None

    def _is_lending(self, trial_id: str) -> bool:
        return any(copy.launch.begins_from == trial_id for copy in self._copies)

    def _lacks(self, trial_id: str) -> bool:
        with contextlib.suppress(ManifestError):  # the executor says so
            return self._kept.newest_checkpoint(trial_id) is None
        return False

    def _begin(self, copy: _Copy) -> None:
        self._copies.append(copy)
        self._to_make.put(copy)
        if self._meanwhile and self._thread is None:
            self._thread = Thread(target=self._run, name="dotrain-copying", daemon=True)
            self._thread.start()

    def _drop(self, trial_id: str, attempt: int) -> bool:
        """Forget the launch of an attempt that isn't wanted any more; return whether it was held."""
        for copy in self._copies:
            if (copy.launch.trial_id, copy.launch.attempt) == (trial_id, attempt):
                was_wanted, copy.is_wanted = copy.is_wanted, False
                return was_wanted
        held = [one for one in self._held if (one.trial_id, one.attempt) == (trial_id, attempt)]
        for launch in held:
            self._held.remove(launch)
        return bool(held)

    def _run(self) -> None:
        while (copy := self._to_make.get()) is not None:
            self._make(copy)
            self._wake()

    def _make(self, copy: _Copy | None) -> None:
        assert copy is not None
        launch = copy.launch
        name = launch.trial_id, launch.attempt
        given = launch.trial_id, launch.begins_from, launch.begins_at
        try:
            inherit(self._run_dir, self._kept, *given, lambda: self._is_wanted(copy))
        except NotWanted:
            copy.is_wanted = False
        except NothingToInherit as error:
            copy.fault = Failed(*name, Failure(FailureKind.SETUP, str(error)))
        except OSError as error:
            what = f"{launch.begins_from}'s checkpoint can't be copied: {error}"
            copy.fault = Lost(*name, what)
            if error.errno in FULL:
                copy.fault = Failed(*name, Failure(FailureKind.DISK_FULL, what))
        except (StorageError, ManifestError) as error:
            copy.fault = Lost(*name, f"{launch.begins_from}'s checkpoint can't be copied: {error}")
        except Exception as error:  # else the launch would be waited for for ever
            what = f"the checkpoint can't be copied: {type(error).__name__}: {error}"
            copy.fault = Failed(*name, Failure(FailureKind.SETUP, what))
        self._made.append(copy)

    def _is_wanted(self, copy: _Copy) -> bool:
        return copy.is_wanted and not self._is_closing
