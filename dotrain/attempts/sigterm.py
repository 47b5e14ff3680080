"""SIGTERM in the processes below a host: a batch system sends it to all that a job has, some time before it kills.

The worker hears of it too and lets its attempt come to its next report (`executors/dask/farewell.py`), a driver
ends its run. So what is between here and there passes it over, and the attempt itself ends at its next report.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, final

#: Why an attempt ends that has heard it.
WHY = "its process was told to end (SIGTERM)"

#: What the user's modules do at it.
_theirs: Any = signal.SIG_DFL


def pass_over() -> None:
    """Let this process live on; it ends with the one above it. What it executes hears SIGTERM as ever."""
    global _theirs
    before = signal.getsignal(signal.SIGTERM)
    if before is not _nothing:
        _theirs = before
    signal.signal(signal.SIGTERM, _nothing)  # not SIG_IGN, which would be inherited


def hear() -> None:
    """Take back `pass_over`, in a process that was forked from one that does."""
    if signal.getsignal(signal.SIGTERM) is _nothing:
        signal.signal(signal.SIGTERM, _theirs)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Do nothing."""


@final
class Termination:
    """Notes the first SIGTERM that this process hears; the second one ends it, and the first what it forks.

    Attributes:
        came: Whether there was one.
    """

    def __init__(self) -> None:
        """Listen, unless the user's code does."""
        self.came = False
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._note)
            self._held = threading.local()
            os.register_at_fork(
                before=self._hold, after_in_parent=self._release, after_in_child=self._in_child
            )

    def __repr__(self) -> str:
        """Say the same in every process: what attempts find is compared by that."""
        return "Termination()"

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        self._forget()

    def _hold(self) -> None:
        # What comes between the fork and the first line of the new process, Python would forget; a pool that is
        # ended as soon as it has begun would wait for that process for ever.
        self._held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def _release(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._held.mask)

    def _in_child(self) -> None:
        self._forget()
        self._release()

    def _forget(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._note:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
