"""Whose turn it is with a trial's files, where workers write them on the driver's own disk.

A worker that was cut off doesn't know that its attempt counts as lost, and is run elsewhere. They still share
the disk: so whoever runs a trial says so there, looks now and then whether another has said so since, and ends
then. Who comes after waits for that, if the one before has not said that it is done.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import final

from dotrain.store import RunDir

#: How often it is looked whether it still is one's turn, in seconds.
LOOK_S = 1.0
#: How long the one before may take to notice that it isn't its turn any more, and to end, in seconds.
HANDOVER_S = 2.5


@final
class Turn:
    """One attempt's turn.

    Attributes:
        token: Of the attempt's group.
    """

    def __init__(self, run_dir: RunDir, trial_id: str, token: str) -> None:
        """Say nothing yet.

        Args:
            run_dir: Where the trial's files are.
            trial_id: The trial.
            token: Of the attempt's group; unique.
        """
        self.token = token
        self._file = run_dir.turn(trial_id)

    def take(self) -> float:
        """Say that it is this one's turn.

        Returns:
            How long to wait before anything is read or written, in seconds.

        Raises:
            OSError: If that can't be written.
        """
        before = self._said()
        # In its place: other machines notice that sooner than another file.
        number = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        with open(number, "w") as file:
            file.write(self.token)
        return HANDOVER_S if before not in ("", self.token) else 0.0

    def is_over(self) -> bool:
        """Whether it is another one's turn by now."""
        return self._said() != self.token

    def leave(self) -> None:
        """Say that nothing of it is left."""
        with suppress(OSError):
            if not self.is_over():
                self._file.unlink()

    def _said(self) -> str:
        try:
            return self._file.read_text(errors="replace")
        except FileNotFoundError:
            return ""


@final
class Turns:
    """The turns of a worker, one after another.

    What stands between two attempts is done on the loop itself: to hand it to a thread takes longer.
    """

    def __init__(self, run_dir: RunDir, end: Callable[[str], None]) -> None:
        """Have none.

        Args:
            run_dir: Where the trials' files are.
            end: Called with the token of an attempt whose turn is over.
        """
        self._run_dir = run_dir
        self._end = end
        self._current: Turn | None = None
        self._waiting: Turn | None = None
        #: What looks whether it is over; nobody else keeps it.
        self._looking: asyncio.Task[None] | None = None

    async def take(self, trial_id: str, token: str) -> bool:
        """Wait for a turn.

        Returns:
            Whether the attempt may begin; if not, it has been given up.
        """
        turn = self._waiting = Turn(self._run_dir, trial_id, token)
        try:
            wait_s = turn.take()
        except OSError:  # the attempt can't write there either, and says so
            self._waiting = None
            return True
        if wait_s:
            await asyncio.sleep(wait_s)
        if self._waiting is not turn:
            turn.leave()
            return False
        self._current, self._waiting = turn, None
        self._looking = asyncio.create_task(self._look(turn))
        return True

    def give_up(self, token: str) -> bool:
        """Don't wait any longer; return whether that attempt did."""
        if self._waiting is None or self._waiting.token != token:
            return False
        self._waiting = None
        return True

    async def _look(self, turn: Turn) -> None:
        while self._current is turn:
            await asyncio.sleep(LOOK_S)
            with suppress(OSError):
                if self._current is turn and await asyncio.to_thread(turn.is_over):
                    self._end(turn.token)

    def leave(self) -> None:
        """Let the next one have the files of the trial: nothing of the attempt is left."""
        turn, self._current = self._current, None
        if turn is not None:
            turn.leave()
