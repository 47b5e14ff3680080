"""How far a run is and how long it will still take, in the few numbers that a display needs."""

from __future__ import annotations

from dotrain.core.policy import Plan
from dotrain.core.scheduler import Scheduler
from dotrain.core.trial import Trial, TrialState


class Progress:
    """Reads the scheduler's state; holds none that matters."""

    def __init__(self, scheduler: Scheduler, plan: Plan | None) -> None:
        self._scheduler = scheduler
        self._plan = plan
        self._first_start_s: float | None = None
        #: Budget (or launches, where there is none) of attempts that have ended.
        self._done = 0.0
        for trial in scheduler.book.trials.values():
            if self._in_steps and trial.results:
                self._done += trial.results[-1].budget or 0
            elif trial.state.ended:
                self._done += 1
        #: What an earlier driver had done of it.
        self._done_before = self._done

    def on_start(self, time_s: float) -> None:
        """An attempt has entered the train function."""
        if self._first_start_s is None:
            self._first_start_s = time_s

    def on_end(self, trial: Trial) -> None:
        """An attempt has ended."""
        if self._in_steps:
            budgets = [0, *(result.budget or 0 for result in trial.results)]
            self._done += budgets[-1] - budgets[-2] if len(budgets) > 1 else 0
        else:
            self._done += 1

    @property
    def _in_steps(self) -> bool:
        return self._plan is not None and self._plan.steps is not None

    @property
    def ended(self) -> int:
        """Number of trials that are not running, waiting or new."""
        return sum(self._scheduler.book.counts[state] for state in TrialState if state.ended)

    @property
    def planned(self) -> int | None:
        """Number of configurations in the plan, or None."""
        return self._plan.configurations if self._plan else None

    def left_s(self, time_s: float) -> float | None:
        """Return an estimate of the time left, in seconds, or None while there is no telling.

        It takes the rest of the plan to go on at the pace so far; for a successive-halving search
        that is the least it will do.
        """
        if self._plan is None or self._first_start_s is None or self._done - self._done_before < 1:
            return None
        total = self._plan.steps or self._plan.launches
        pace = (time_s - self._first_start_s) / (self._done - self._done_before)
        return max(0.0, total - self._done) * pace

    @property
    def is_lower_bound(self) -> bool:
        """Whether the plan is the least the search will do, rather than exactly what."""
        return bool(self._plan and self._plan.rungs)


def duration(seconds: float) -> str:
    """Return a time span for people: ``8.4 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
