"""What the driver asks of an executor."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from dotrain.core.events import Event
from dotrain.core.instructions import Instruction
from dotrain.training.program import Program

Post = Callable[[Event], None]


class Executor(ABC):
    """Runs attempts, and tells what happens to them.

    The driver calls every method from one thread, and events are posted on that thread only:
    `post` may therefore lead straight back into `carry_out`.
    """

    #: Whether attempts run while `pump` waits, so that a live display can be kept up.
    concurrent = True

    @abstractmethod
    def start(self, program: Program, post: Post) -> None:
        """Get ready to run a program; posts `SlotsChanged` as slots appear, at the latest in `pump`.

        Args:
            program: What every attempt runs.
            post: Where events go.

        Raises:
            ResourcesUnavailable: If no slot can be had within the time-out.
        """

    @abstractmethod
    def carry_out(self, instruction: Instruction) -> None:
        """Begin to do what an instruction says; never waits for it."""

    @abstractmethod
    def pump(self, timeout_s: float) -> None:
        """Let things happen: post what has happened, or wait for something to happen.

        Args:
            timeout_s: The longest to wait, in seconds.
        """

    @abstractmethod
    def close(self) -> None:
        """End whatever still runs and leave nothing behind; safe to call twice, or unstarted."""

    def clock_s(self) -> float:
        """Return the time in seconds, on a clock that never goes back."""
        return time.monotonic()
