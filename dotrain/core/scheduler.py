"""The scheduler: events in, instructions out.

One object holds the state of a run and decides, from one event at a time, what to launch and what
to stop. It does no I/O and reads no clock, so the same code runs over Dask, in this process, in a
simulation and in the replay of a journal.
"""

from __future__ import annotations

from collections.abc import Mapping

from dotrain.core.asking import may_continue, tell_end
from dotrain.core.book import TrialBook
from dotrain.core.criteria import Criteria
from dotrain.core.deadlines import Deadlines, first_after
from dotrain.core.enough import Enough
from dotrain.core.events import (
    Event,
    Freed,
    Interrupted,
    Noted,
    Proposed,
    Reported,
    Resumed,
    SlotsChanged,
    Started,
    StopAsked,
    TrialEvent,
    Used,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Ask, Finish, Instruction, Kill, RunStatus, SetAside
from dotrain.core.limits import Limits
from dotrain.core.line import Line
from dotrain.core.marks import Mark
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer, Direction
from dotrain.core.repeats import Repeats
from dotrain.core.stopping import Stopping
from dotrain.core.streak import Streak
from dotrain.core.suggestions import Suggestions
from dotrain.core.trial import Trial, TrialState


class Scheduler:
    """The decision logic of one run.

    Attributes:
        book: All trials and what became of them.
        slots: Slots the executor has, busy ones included.
        status: None while the run goes on, then how it ended (see `Finish`).
        took_in: Whether the last event was news, not late or double.
    """

    def __init__(
        self,
        optimizer: AbstractOptimizer,
        early_stop: AbstractEarlyStop,
        *,
        direction: Direction = "max",
        seed: int = 0,
        limits: Limits | None = None,
        slots_per_trial: int = 1,
        code: str | None = None,
        marks: Mapping[Mark, str] | None = None,
        counts_from_one: bool = True,
        criteria: Criteria | None = None,
        repeats: Repeats | None = None,
    ) -> None:
        """Make a scheduler; nothing happens before the first event.

        Args:
            optimizer: Says what to run; set up and initialized.
            early_stop: Says what to stop.
            direction: ``max`` or ``min``, handed to the early-stop rule.
            seed: The run's seed; the trials' seeds are derived from it.
            limits: What ends attempts and the run early.
            slots_per_trial: Slots that each trial holds.
            code: Digest of the user's code that the run begins with, None where it isn't known.
            marks: What must be known of every trial.
            counts_from_one: As of `TrialBook`.
            criteria: As of `TrialBook`.
            repeats: As of `TrialBook`.
        """
        self.limits = limits or Limits()
        self.book = TrialBook(
            seed,
            self.limits,
            code=code,
            marks=marks,
            counts_from_one=counts_from_one,
            criteria=criteria,
            repeats=repeats,
        )
        self.slots = 0
        self.status: RunStatus | None = None
        self.took_in = True
        self._optimizer = optimizer
        self._early_stop = early_stop
        self._slots_per_trial = slots_per_trial
        self._stopping = Stopping(early_stop, direction, self.book)
        optimizer.trials = self.book.trials
        self._line = Line(self.book)
        self._suggestions = Suggestions(optimizer, self.book, self._line)
        self._streak = Streak()
        metrics = None if criteria is None else criteria.metrics
        self._enough = Enough(self.limits, direction, metrics)
        self._deadlines = Deadlines()

    def handle(self, event: Event, time_s: float) -> list[Instruction]:
        """Take in one event and decide.

        Args:
            event: What happened.
            time_s: When, in seconds since the run began; never decreasing.

        Returns:
            What to do now, in order; each instruction carries its reason. After the run has
            ended, no event but `Resumed` and `Freed` changes anything, and the list is empty.

        Raises:
            PolicyError: If the optimizer or the early-stop rule breaks its contract.
        """
        self.took_in = True
        if isinstance(event, Resumed):
            self._resume(event, time_s)
        elif isinstance(event, Freed):
            self.book.free(event)
        if self.status is not None:
            return []
        out: list[Instruction] = []
        match event:
            case Interrupted():
                self._end(RunStatus.INTERRUPTED, event.reason, time_s, out)
            case Resumed():
                self._fill(time_s, out)
            case SlotsChanged():
                self.slots = event.slots
                self.book.hosts.changed(event.hosts or {})
                self._fill(time_s, out)
            case Proposed():
                self.took_in = self._suggestions.proposed(event)
                self._fill(time_s, out)
            case TrialEvent():
                self._trial_event(event, time_s, out)
        self._check_time(time_s, out)
        self._ask(out)
        return out

    def _resume(self, event: Resumed, time_s: float) -> None:
        self.limits = Limits.of(event.limits)
        for trial in self.book.resume(self.limits, time_s, event.code, event.began_with):
            self._written_off(trial)
        self._enough.follow(self.limits)
        self._line.restart(self.book.trials.values())
        self._deadlines.clear()
        self._streak.restart()
        self.slots = 0
        self._slots_per_trial = event.slots_per_trial
        self.status = None
        self._suggestions.restart(event.num_trials, event.try_first or (), event.space)

    def _trial_event(self, event: TrialEvent, time_s: float, out: list[Instruction]) -> None:
        aside = set(self.book.hosts.aside)
        trial = self.book.apply(event, time_s)
        self._tell_of_hosts(aside, out)
        self.took_in = trial is not None
        if trial is None:
            return
        if isinstance(event, Reported):
            out += self._stopping.after_report(trial, event, self.limits, time_s)
        elif isinstance(event, StopAsked):
            out += self._stopping.when_asked(trial, event, time_s)
        elif isinstance(event, Noted | Used):
            pass
        elif isinstance(event, Started):
            self._deadlines.begin(trial, self.limits, time_s)
            if self._line.elsewhere:  # where it runs is known now, and so where it doesn't
                self._fill(time_s, out)
        elif trial.state is TrialState.WAITING:
            self._line.again(trial)
            self._fill(time_s, out)
        else:
            self._ended(trial, time_s, out)

    def _tell_of_hosts(self, before: set[str], out: list[Instruction]) -> None:
        for host in sorted(before ^ self.book.hosts.aside):
            back = host in before
            out.append(SetAside(self.book.hosts.why(host), host, back))

    def _ended(self, trial: Trial, time_s: float, out: list[Instruction]) -> None:
        self._streak.count(trial)
        self._note_end(trial)
        # On many slots the first to end may well be failures; only a whole wave of them tells.
        reason = self._streak.hopeless(trial, max(self.limits.max_failures, self.slots))
        if reason:
            self._end(RunStatus.FAILED, reason, time_s, out)
        else:
            self._fill(time_s, out)

    def _fill(self, time_s: float, out: list[Instruction]) -> None:
        """Launch what fits, asking the optimizer for more while slots are free."""
        if self._enough.why:
            return self._end(RunStatus.FINISHED, self._enough.why, time_s, out)
        slots, needed = self.slots, self._slots_per_trial
        self._line.launch_elsewhere(slots, needed, time_s, out)
        waiting = self._suggestions.gather(slots, needed)
        self._line.launch(slots, needed, time_s, out)
        idle = not (self.book.active or self._line)
        if idle and self._suggestions.over:
            self._end(RunStatus.FINISHED, "every trial has ended", time_s, out)
        elif idle and waiting and slots >= needed:
            self._suggestions.refuse_to_wait()

    def _ask(self, out: list[Instruction]) -> None:
        question = None if self.status is not None else self._suggestions.question()
        if question is not None:
            known = (question.number, question.trials, question.outcomes, question.level)
            out.append(Ask("a new configuration is wanted", *known))

    def _check_time(self, time_s: float, out: list[Instruction]) -> None:
        if self.status is not None:
            return
        limit = self.limits.max_time_s
        if limit is not None and time_s >= limit:
            reason = f"{limit:g} s have passed (limits.max_time_s)"
            return self._end(RunStatus.TIME_LIMIT, reason, time_s, out)
        # Writing one trial off may end the run, which ends every other attempt too.
        for _, trial_id, attempt, is_hard in self._deadlines.take_due(time_s):
            trial = self.book.active.get(trial_id)
            if trial is None or trial.attempt != attempt:
                continue
            if not is_hard:
                out += self._stopping.when_due(trial, self.limits, time_s)
                continue
            message = f"ran longer than {self.limits.trial_timeout_s:g} s (limits.trial_timeout_s)"
            self.book.fail(trial, Failure(FailureKind.TIMEOUT, message), time_s)
            out.append(Kill(message, trial_id, attempt, timeout=True))
            self._ended(trial, time_s, out)

    def _end(self, status: RunStatus, reason: str, time_s: float, out: list[Instruction]) -> None:
        for trial in list(self.book.active.values()):
            self.book.lose(trial, reason, time_s)
            self._written_off(trial)
            out.append(Kill(reason, trial.trial_id, trial.attempt))
        self.status = status
        out.append(Finish(reason, status, self.ended_early != ""))

    @property
    def ended_early(self) -> str:
        """Why a run has finished before all was tried, or ``""``."""
        return self._enough.why if self.status is RunStatus.FINISHED else ""

    def _written_off(self, trial: Trial) -> None:
        """Note a trial that the end of its driver has ended, because it was to stop anyway."""
        if trial.state.ended:
            self._note_end(trial)

    def _note_end(self, trial: Trial) -> None:
        self._enough.count(trial)
        self._stopping.forget(trial)
        tell_end(self._early_stop, trial)
        self._suggestions.to_tell.append(trial)

    def is_over(self, trial: Trial) -> bool:
        """Whether a trial has ended and is never launched again, however the run goes on.

        Raises:
            PolicyError: If the optimizer breaks its contract.
        """
        if not trial.state.ended or self._line.has(trial):
            return False
        if any(one.begins_from == trial.trial_id for one in self.book.borrowing.values()):
            return False  # as far as its checkpoint goes
        return not may_continue(self._optimizer, trial)

    def next_deadline(self) -> float | None:
        """When a `TimePassed` event is due at the latest, in seconds since the run began."""
        limit_s = self.limits.max_time_s
        due = (self._deadlines.next_s, None if limit_s is None else first_after(limit_s))
        return min((one for one in due if one is not None), default=None)

    def validate(self) -> None:
        """Assert every invariant, for tests: to be called after any event.

        Raises:
            AssertionError: If one doesn't hold.
        """
        self.book.validate()
        if self.status is not None:
            assert not self.book.active, "the run is over and a trial still holds slots"
            return
        line = self._line
        retries = {trial.trial_id for trial in (*line.retries, *line.elsewhere)}
        assert len(retries) == len(line.retries) + len(line.elsewhere), "a trial waits twice"
        waiting = {i for i, t in self.book.trials.items() if t.state is TrialState.WAITING}
        assert waiting == retries, "waiting trials and the queue of them differ"
        accepted = [trial.trial_id for trial, _, _ in line.accepted]
        assert len(set(accepted)) == len(accepted), "a trial is accepted twice"
        new = {i for i, t in self.book.trials.items() if t.state is TrialState.NEW}
        assert new <= set(accepted), "an accepted trial has been forgotten"
        assert not self._suggestions.to_tell or self._suggestions.over, (
            "the optimizer has not been told of an ended trial"
        )
        waits = bool(line.elsewhere) or not self.book.hosts.are_all_open  # for a host, it may
        if line and not (waits and self.book.active):
            free = self.slots - self.book.held
            assert free < self._slots_per_trial, "a trial waits although slots are free"
