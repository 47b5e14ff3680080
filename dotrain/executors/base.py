"""What the driver asks of an executor."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

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

    def interrupt(self) -> None:  # noqa: B027
        """Let `start` return soon; called from a signal handler while it may be waiting."""

    def abort(self) -> None:  # noqa: B027
        """End whatever still runs at once, by force; `close` was broken off."""

    def clock_s(self) -> float:
        """Return the time in seconds, on a clock that never goes back."""
        return time.monotonic()

    def date(self) -> datetime:
        """Return the date and time, for people."""
        return datetime.now(UTC)

    def resume_from(self, time_s: float, steps: Mapping[str, int]) -> None:  # noqa: B027
        """Go on with a run; called before `start`.

        Args:
            time_s: Time of the run so far, in seconds.
            steps: Steps that each trial has reported, by trial id.
        """
