"""How far a run is and how long it will still take, in the few numbers that a display needs."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import fmean
from typing import Literal, NamedTuple

from dotrain.core.events import Event, Reported, Resumed, TrialEvent
from dotrain.core.instructions import Instruction, Kill
from dotrain.core.observer import RunView
from dotrain.core.policy import Plan
from dotrain.core.trial import Trial, TrialState
from dotrain.report.attempts import End, ended_attempts, spent_s

#: Durations that are kept of each budget, the latest ones.
_KEPT = 200
#: Launches to come that are gone through one by one; of more, whole waves are taken at once.
_EACH = 1000


class Left(NamedTuple):
    """An estimate of the time left.

    Attributes:
        seconds: How long.
        bound: ``at least`` where promotions that no plan can foresee come on top, ``at most``
            where the run's time limit comes first, else ``about``.
    """

    seconds: float
    bound: Literal["about", "at least", "at most"]


@dataclass
class _Reports:
    """When the current attempt of a trial has reported."""

    first_s: float
    first_step: int
    last_s: float


class Progress:
    """Follows a run: what has ended, how long it took, and what the plan still holds.

    Only attempts count, with their own durations, never the time since the run began: a run that
    goes on after a week has the same estimate as one that was not interrupted.

    What ends early is seen first, and says nothing about how long a trial takes. So there is no
    estimate until one has finished; and of those that failed, were stopped or diverged, only those
    count that were launched after it was.
    """

    def __init__(self, run: RunView, plan: Plan | None) -> None:
        """Begin with what has happened before.

        Args:
            run: What has happened.
            plan: What the optimizer plans, or None.
        """
        self._run = run
        self._plan = plan
        self._count_all()

    def _count_all(self) -> None:
        #: Of attempts that have ended, by budget: how many, and for how many seconds they ran.
        self._ended: Counter[float | None] = Counter()
        self._durations: defaultdict[float | None, deque[float]] = defaultdict(
            lambda: deque(maxlen=_KEPT)
        )
        #: The same of the first wave, which was launched before any attempt had finished: they may
        #: have loaded, compiled and warmed up what later ones find ready.
        self._first_wave: defaultdict[float | None, list[float]] = defaultdict(list)
        #: Budgets with which an attempt after the first wave has finished.
        self._warm: set[float | None] = set()
        self._first_finish: End | None = None
        #: Before that.
        self._early: list[End] = []
        #: Attempts of each trial that have ended.
        self._ends: Counter[str] = Counter()
        self._reports: dict[str, _Reports] = {}
        #: Steps of finished trials without a budget.
        self._steps: deque[int] = deque(maxlen=_KEPT)
        #: Trials that have come to an end at least once.
        self.tried = 0
        #: Finished attempts by budget.
        self.finished_at: Counter[float] = Counter()
        ends = [(t, end) for t in self._run.trials.values() for end in ended_attempts(t)]
        for trial, end in sorted(ends, key=lambda pair: pair[1].ended_s):
            self._note(trial, end)

    def on_event(
        self, event: Event, instructions: Sequence[Instruction], time_s: float
    ) -> Iterator[Trial]:
        """Take in an event.

        Yields:
            The trials of which an attempt has come to an end by it.
        """
        trials = self._run.trials
        if isinstance(event, Resumed):
            self._count_all()  # a trial that was to stop has ended with its driver
        if isinstance(event, TrialEvent):
            trial = trials[event.trial_id]
            if isinstance(event, Reported):
                seen = self._reports.setdefault(
                    trial.trial_id, _Reports(time_s, event.step, time_s)
                )
                seen.last_s = time_s
            else:
                yield from self._ended_now(trial)
        for instruction in instructions:
            if isinstance(instruction, Kill) and instruction.timeout:
                yield from self._ended_now(trials[instruction.trial_id])

    def _ended_now(self, trial: Trial) -> Iterator[Trial]:
        """Note what has become of the current attempt, if it runs no more."""
        if trial.attempt_step is None or trial.started_s is None:
            self._reports.pop(trial.trial_id, None)
        for end in list(ended_attempts(trial))[self._ends[trial.trial_id] :]:
            self._note(trial, end)
            yield trial

    def _note(self, trial: Trial, end: End) -> None:
        self._ends[trial.trial_id] += 1
        self.tried += self._ends[trial.trial_id] == 1
        self._ended[end.budget] += 1
        if self._first_finish is None and end.state is not TrialState.FINISHED:
            self._early.append(end)
            return
        self._first_finish = self._first_finish or end
        for each in [*self._early, end]:
            self._note_duration(each, self._first_finish)
        self._early = []
        if end.state is TrialState.FINISHED:
            if end.budget is not None:
                self.finished_at[end.budget] += 1
            elif trial.last_step is not None:
                self._steps.append(trial.last_step + 1)

    def _note_duration(self, end: End, first: End) -> None:
        has_finished = end.state is TrialState.FINISHED
        if not has_finished and end.launched_s <= first.launched_s:
            return
        if end.launched_s < first.ended_s:
            self._first_wave[end.budget].append(end.spent_s)
            return
        self._durations[end.budget].append(end.spent_s)
        if has_finished:
            self._warm.add(end.budget)

    @property
    def planned(self) -> int | None:
        """Number of configurations in the plan, or None if there may be others beside them."""
        plan = self._plan
        # Without rungs there are more launches than configurations where trials take others' places.
        if plan is None or (plan.launches > plan.configurations and not plan.rungs):
            return None
        return plan.configurations

    @property
    def has_rungs(self) -> bool:
        """Whether trials may be promoted."""
        return bool(self._plan and self._plan.rungs)

    # ---- what is left ----

    def left(self, time_s: float) -> Left | None:
        """Return an estimate of the time left, or None while there is no telling.

        Trials that run take what their reports let expect; those to come, as long as others of
        their budget. A rung that no trial has finished yet counts as the one below, which is less
        than it will take.
        """
        slots = self._run.slots
        if self._plan is None or slots == 0:
            return None
        active = list(self._run.active.values())
        running: defaultdict[float | None, list[float]] = defaultdict(list)
        rests: list[float] = []
        for trial in active:
            rest_s = self._rest_s(trial, time_s)
            if rest_s is None:
                return None
            rests.append(rest_s)
            running[trial.budget].append(spent_s(trial, time_s) + rest_s)
        jobs: list[tuple[int, list[float]]] = []
        below: list[float] = []
        for budget, count in self._to_come(self._plan):
            below = [*self._known(budget), *running[budget]] or below
            if count and not below:
                return None
            jobs.append((count, below))
        each = max((trial.slots for trial in active), default=1)
        left_s = _makespan(rests, jobs, max(1, slots // each))
        limit_s = self._run.limits.max_time_s
        if limit_s is not None and limit_s - time_s < left_s:
            return Left(max(0.0, limit_s - time_s), "at most")
        return Left(left_s, "at least" if self.has_rungs else "about")

    def _to_come(self, plan: Plan) -> Iterator[tuple[float | None, int]]:
        """Yield (budget, launches that are still to come at least), the smallest budget first."""
        run = self._run
        waiting: Counter[float | None] = Counter()
        if run.counts[TrialState.WAITING]:
            states = TrialState.WAITING
            waiting.update(t.budget for t in run.trials.values() if t.state is states)
        active = Counter(t.budget for t in run.active.values())
        if not plan.rungs:
            done = sum(self._ended.values()) + active.total()
            yield next(iter(self._ended or active), None), max(0, plan.launches - done)
            return
        # Who fails is promoted no further; more than were planned may have been.
        share = 1.0 - run.counts[TrialState.FAILED] / max(1, self.tried)
        below = None
        reached = 0
        for rung in plan.rungs:
            here = self._ended[rung.budget] + active[rung.budget]
            planned = rung.trials
            if below is not None:
                planned = int(share * max(planned, reached * rung.trials / max(1, below.trials)))
            left = max(0, planned - here, waiting[rung.budget])
            yield rung.budget, left
            below, reached = rung, here + left

    def _rest_s(self, trial: Trial, time_s: float) -> float | None:
        """Return how long a running attempt may still take, or None if that can't be said.

        The further it is, the more its own reports count, and the less how long others took: a
        first step may well be slow.
        """
        usual = self._usual(trial.budget)
        usual_s = None
        if usual:
            # What a checkpoint holds need not be done again.
            so_far_s = time_s - trial.launched_s
            if trial.losses and trial.resume_step:
                so_far_s = spent_s(trial, time_s)
            # Of those that took less, this one is none.
            longer = [each_s - so_far_s for each_s in usual if each_s > so_far_s]
            usual_s = fmean(longer) if longer else 0.0
        total = trial.budget
        if total is None and self._steps:
            total = fmean(self._steps)
        seen = self._reports.get(trial.trial_id)
        if seen is None or total is None or trial.attempt_step is None or trial.started_s is None:
            return usual_s
        done, whole = trial.attempt_step + 1 - trial.resume_step, total - trial.resume_step
        if done <= 0 or whole <= 0:
            return usual_s
        if trial.attempt_step > seen.first_step:
            pace_s = (seen.last_s - seen.first_s) / (trial.attempt_step - seen.first_step)
        else:
            pace_s = (seen.last_s - trial.started_s) / done
        own_s = max(0.0, pace_s * (whole - done) - (time_s - seen.last_s))
        share = min(1.0, done / whole)
        if usual_s is None or not self._ended[trial.budget]:
            return own_s
        return share * own_s + (1 - share) * usual_s

    def _known(self, budget: float | None) -> Sequence[float]:
        """Return how long attempts with a budget have taken.

        The first wave counts until there are others, unless it might turn a lower bound into none.
        """
        if budget in self._warm:
            return self._durations[budget]
        first = [] if self.has_rungs else self._first_wave.get(budget, [])
        return first and [*first, *self._durations[budget]]

    def _usual(self, budget: float | None) -> Sequence[float]:
        """Return how long attempts with a budget take, or those with the next smaller one."""
        known = self._known(budget)
        if known or budget is None:
            return known
        smaller = max((b for b in self._warm if b is not None and b < budget), default=None)
        return self._durations.get(smaller, ())


def _makespan(
    rests: Iterable[float], jobs: Iterable[tuple[int, Sequence[float]]], width: int
) -> float:
    """Return when the last of some jobs ends, each begun as soon as a place is free.

    Args:
        rests: When the places that are taken get free, in seconds.
        jobs: (how many, how long such jobs have taken), in the order in which they begin.
        width: How many run at the same time.
    """
    free = sorted(rests)
    free += [0.0] * (width - len(free))
    heapq.heapify(free)
    for count, durations in jobs:
        waves = max(0, count - _EACH) // len(free)
        if waves:
            free = [at_s + waves * fmean(durations) for at_s in free]
        for each_s in islice(cycle(durations), count - waves * len(free)):
            heapq.heapreplace(free, free[0] + each_s)
    return max(free)
