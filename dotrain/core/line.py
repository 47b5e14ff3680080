"""What waits for slots: attempts to be made again, then suggestions, each in the order in which they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import final

from dotrain.core.book import TrialBook
from dotrain.core.instructions import Instruction
from dotrain.core.trial import Trial, TrialState


@final
class Line:
    """The line of what waits.

    Attributes:
        retries: Trials to launch again on any host that is open, before anything new. State WAITING.
        elsewhere: The same for those that have failed or died on a host, and are tried on another.
        accepted: Suggestions that were accepted, with their budget and reason.
    """

    def __init__(self, book: TrialBook) -> None:
        """Make an empty line."""
        self.retries: deque[Trial] = deque()
        self.elsewhere: deque[Trial] = deque()
        self.accepted: deque[tuple[Trial, float | None, str]] = deque()
        self._book = book

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self.retries or self.elsewhere or self.accepted)

    def again(self, trial: Trial) -> None:
        """Let a trial wait for its next attempt."""
        (self.elsewhere if trial.avoids else self.retries).append(trial)

    def restart(self, trials: Iterable[Trial]) -> None:
        """Begin anew under a new driver, with the trials that wait; what was accepted stays."""
        self.retries.clear()
        self.elsewhere.clear()
        for trial in trials:
            if trial.state is TrialState.WAITING:
                self.again(trial)

    def has(self, trial: Trial) -> bool:
        """Whether a suggestion of a trial waits."""
        return any(queued is trial for queued, _, _ in self.accepted)

    def room(self, slots: int, needed: int) -> int:
        """Return how many slots are neither held nor spoken for.

        Args:
            slots: That there are.
            needed: How many a trial takes.
        """
        queued = len(self.accepted) + len(self.retries)
        return self._free(self._closed(needed), slots) - queued * needed

    def launch_elsewhere(
        self, slots: int, needed: int, time_s: float, out: list[Instruction]
    ) -> None:
        """Launch what has failed or died on a host and finds room on another; the rest is passed over.

        Args:
            slots: That there are.
            needed: How many a trial takes.
            time_s: Now.
            out: Gets the launches.
        """
        for trial in list(self.elsewhere):
            avoid = self._book.hosts.elsewhere(trial.trial_id, trial.avoids, needed)
            if self._free(avoid, slots) >= needed:
                self.elsewhere.remove(trial)
                times = "once more" if trial.failed_on else _times(trial)
                reason = f"{times}, if it can be on another host, after: {trial.story[-1].what}"
                out.append(self._book.launch(trial, trial.budget, reason, time_s, needed, avoid))

    def launch(self, slots: int, needed: int, time_s: float, out: list[Instruction]) -> None:
        """Launch what else waits, as far as there is room; as of `launch_elsewhere`."""
        avoid = self._closed(needed)
        while self.retries and needed <= self._free(avoid, slots):
            trial = self.retries.popleft()
            reason = f"{_times(trial)} after: {trial.story[-1].what}"
            out.append(self._book.launch(trial, trial.budget, reason, time_s, needed, avoid))
        while self.accepted and needed <= self._free(avoid, slots):
            trial, budget, reason = self.accepted.popleft()
            out.append(self._book.launch(trial, budget, reason, time_s, needed, avoid))

    def _free(self, avoid: frozenset[str], slots: int) -> int:
        """Return how many slots are free for sure, but for those of some hosts."""
        book = self._book
        if not avoid:
            return slots - book.held
        # Of attempts that are about to start nobody knows where.
        return book.hosts.free(avoid) - (book.held - book.hosts.busy)

    def _closed(self, needed: int) -> frozenset[str]:
        """Return the hosts that get nothing new now, or are waited for by what is tried elsewhere."""
        hosts = self._book.hosts
        closed = hosts.closed(needed)
        for trial in self.elsewhere:
            closed |= hosts.but(hosts.elsewhere(trial.trial_id, trial.avoids, needed))
        if closed and not self._book.active and hosts.free(closed) < needed:
            return hosts.set_aside(needed)  # nothing runs whose end would open one
        return closed


def _times(trial: Trial) -> str:
    repeated = trial.repeated
    if repeated is not None and repeated.is_due:
        return f"repeat {repeated.index + 1}"
    return f"try {trial.losses + 1}"
