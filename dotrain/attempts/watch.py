"""What is made of looks at an attempt's processes: how much they use, and whether to end them.

No clock, no I/O: `usage` does the looking.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, final

from dotrain.core.events import Failed, Lost, TrialEvent
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.usage import megabytes

#: How often to look, in seconds.
LOOK_S = 0.5
#: How long a process is seen stopped before it is taken for frozen, in seconds.
_FROZEN_S = 5.0
#: After a longer pause between two looks, in seconds, it was rather the watcher that stood still.
_PAUSE_S = 2.0
#: The processor time that goes by in a process that waits, in seconds and as a share of a core:
#: ticks, and threads that look now and then whether there is something to do.
_IDLE_CPU_S, _IDLE_SHARE = 0.02, 0.001
#: The share of the time that may go into weighing, where nothing depends on it: the kernel walks
#: through all pages, 0.3 ms for plain Python and 20 ms where a large framework is imported.
_WEIGHING_SHARE = 0.02


class Memory(NamedTuple):
    """What processes have written to and hold, in bytes; files that they only read don't count.

    Attributes:
        private: What each has for itself.
        part: Each one's part of what it shares with others, for all of them.
        shared: What one of them shares with others, whole; for a baseline.
    """

    private: int
    part: int = 0
    shared: int = 0


class Look(NamedTuple):
    """What is seen of an attempt's processes at once.

    Attributes:
        time_s: When, on a clock that never goes back.
        state: The letter that the kernel has for the state of the first; ``""`` if it's gone.
        cpu_s: Processor time of all of them.
        moved: A count that grows with what they read and write; None where nobody counts.
        held_bytes: The most that they may have written to and hold.
        processes: How many there are.
    """

    time_s: float
    state: str
    cpu_s: float
    moved: int | None
    held_bytes: int
    processes: int = 1


@final
class VerdictKind(StrEnum):
    """Why an attempt is to be ended."""

    MEMORY = "memory"
    FROZEN = "frozen"
    SILENT = "silent"


@final
@dataclass(frozen=True)
class Verdict:
    """Why an attempt is to be ended, with the figures."""

    kind: VerdictKind
    text: str

    def event(self, trial_id: str, attempt: int) -> TrialEvent:
        """Return how the attempt ends by it: what would happen again is no loss."""
        if self.kind is VerdictKind.MEMORY:
            return Failed(trial_id, attempt, Failure(FailureKind.MEMORY, self.text))
        return Lost(trial_id, attempt, self.text, died="process")


@final
class Watch:
    """Watches one attempt.

    Attributes:
        cpu_s: The processor time last seen, in seconds.
        peak_bytes: The most memory seen beyond the baseline; None before it is known.
    """

    def __init__(
        self,
        baseline: Memory,
        *,
        memory_bytes: float | None = None,
        silent_s: float | None = None,
    ) -> None:
        """Begin.

        Args:
            baseline: What a process holds that was just forked.
            memory_bytes: The most that the attempt may hold beyond that; None is no limit.
            silent_s: The longest it may show no sign of life, in seconds; None is no limit.
        """
        self._baseline = baseline
        self._memory_bytes = memory_bytes
        self._silent_s = silent_s
        self.cpu_s = 0.0
        self.peak_bytes: int | None = None
        self._look: Look | None = None
        #: The last look at which there was a sign of life.
        self._alive: Look | None = None
        self._first_s = 0.0
        self._stopped_s: float | None = None
        self._weighing_s = 0.0

    def look(self, look: Look) -> Verdict | None:
        """Take in a look.

        Returns:
            Why to end the attempt, or None.
        """
        if self._look is None:
            self._first_s = look.time_s
        elif look.time_s - self._look.time_s > _PAUSE_S:
            self._alive = self._stopped_s = None
        self._look = look
        self.cpu_s = max(self.cpu_s, look.cpu_s)
        if look.processes == 1:
            # Copies of what was shared at first are not in it: those, only weighing finds.
            self._hold(look.held_bytes - self._baseline.private - self._baseline.shared)
        return self._frozen(look) or self._silent(look)

    @property
    def is_to_weigh(self) -> bool:
        """Whether memory is to be weighed after the last look."""
        look = self._look
        if look is None:
            return False
        most = look.held_bytes - self._baseline.private
        if self._memory_bytes is not None and most > self._memory_bytes:
            return True
        return self._weighing_s <= _WEIGHING_SHARE * (look.time_s - self._first_s)

    def weigh(self, memory: Memory, took_s: float) -> Verdict | None:
        """Take in what was found by weighing after the last look.

        Args:
            memory: Of all processes.
            took_s: How long it took to find, in seconds.

        Returns:
            Why to end the attempt, or None.
        """
        self._weighing_s += took_s
        count = self._look.processes if self._look else 1
        # Of what was there before, several processes have no larger part than this together.
        before = self._baseline.shared * count / (count + 1)
        used = memory.private - self._baseline.private + max(0, memory.part - before)
        self._hold(round(used))
        if self._memory_bytes is None or used <= self._memory_bytes:
            return None
        limit = f"limits.trial_memory_mb allows ({megabytes(self._memory_bytes)})"
        return Verdict(VerdictKind.MEMORY, f"used {megabytes(used)} MB, more than {limit}")

    def _hold(self, used: int) -> None:
        self.peak_bytes = max(self.peak_bytes or 0, used)

    def _frozen(self, look: Look) -> Verdict | None:
        # A debugger stops processes too; that is 't'.
        if look.state != "T":
            self._stopped_s = None
            return None
        if self._stopped_s is None:
            self._stopped_s = look.time_s
        if (stood_s := look.time_s - self._stopped_s) < _FROZEN_S:
            return None
        text = f"its process was stopped by a signal, and stood still for {stood_s:.0f} s"
        return Verdict(VerdictKind.FROZEN, text)

    def _silent(self, look: Look) -> Verdict | None:
        alive = self._alive
        if alive is None or look.moved is None or look.moved != alive.moved:
            self._alive = look
            return None
        idle_s = look.time_s - alive.time_s
        if look.cpu_s - alive.cpu_s > _IDLE_CPU_S + _IDLE_SHARE * idle_s:
            self._alive = look
            return None
        if self._silent_s is None or idle_s < self._silent_s:
            return None
        text = f"it computed, read and wrote nothing for {idle_s:.0f} s"
        return Verdict(VerdictKind.SILENT, f"{text} (limits.silent_s: {self._silent_s:g})")
