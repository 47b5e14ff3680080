"""The book of all trials: the part of a run's state that events alone determine.

The scheduler writes it while a run goes on; readers of a journal rebuild it from the records,
without any policy. Both therefore tell the same story.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from dotrain.core.beginning import begin
from dotrain.core.checking import check_trials
from dotrain.core.criteria import Criteria
from dotrain.core.events import (
    AttemptEnd,
    Diverged,
    Failed,
    Finished,
    Freed,
    Lost,
    Noted,
    Reported,
    Started,
    Stopped,
    TrialEvent,
    Used,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.hosts import Hosts
from dotrain.core.instructions import Launch, launch_of
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.repeats import Repeats
from dotrain.core.reports import is_double, note_failed_promotion, note_returned, take_report
from dotrain.core.seeding import derive_seed
from dotrain.core.trial import Result, Trial, TrialState
from dotrain.core.usage import one_after_another


class TrialBook:
    """Every trial of a run, and the slots they hold.

    Attributes:
        trials: By id, in order of acceptance.
        active: The trials that hold slots, by id.
        borrowing: Those that are to begin from another's checkpoint and haven't started yet, by id.
        finalized: Trials with a value, in the order in which they first got one.
        counts: Number of trials by state.
        held: Slots held by active trials.
        hosts: What is known of the hosts that trials run on.
        codes: Digests of the user's code, one for each driver that knew it, the first one's first.
    """

    def __init__(
        self,
        seed: int,
        limits: Limits,
        *,
        code: str | None = None,
        marks: Mapping[Mark, str] | None = None,
        counts_from_one: bool = True,
        criteria: Criteria | None = None,
        repeats: Repeats | None = None,
    ) -> None:
        """Open an empty book.

        Args:
            seed: The run's seed; trials' seeds are derived from it.
            limits: Decides how often a lost trial is tried again.
            code: Digest of the user's code that the run begins with, None where it isn't known.
            marks: What must be known of every trial.
            counts_from_one: Whether a function that counts its steps from 1 keeps the report of the step
                that its checkpoint holds; version 1 of the journal lost it.
            criteria: What is asked of trials' other numbers.
            repeats: How often each configuration is trained; by default once.
        """
        self.trials: dict[str, Trial] = {}
        self.active: dict[str, Trial] = {}
        self.borrowing: dict[str, Trial] = {}
        self.finalized: list[Trial] = []
        self.counts: Counter[TrialState] = Counter()
        self.held = 0
        self.hosts = Hosts()
        self.codes = [code] if code else []
        self._marks = dict(marks or {})
        self._counts_from_one = counts_from_one
        self._criteria = criteria or Criteria()
        self._repeats = repeats or Repeats()
        self._seed = seed
        self._limits = limits

    def accept(self, trial: Trial) -> None:
        """Give a new trial its number and id, and a seed if it has none."""
        trial.number = len(self.trials)
        trial.trial_id = f"t{trial.number:04d}"
        if trial.seed is None:
            trial.seed = derive_seed(self._seed, "trial", trial.number)
        self._repeats.begin(trial)
        trial.notes.update(self._marks)
        self.trials[trial.trial_id] = trial
        if trial.begins_from:
            self.borrowing[trial.trial_id] = trial
        self.counts[trial.state] += 1

    def find(self, event: TrialEvent) -> Trial | None:
        """Return the trial an event is about, or None if that attempt is over already."""
        trial = self.active.get(event.trial_id)
        return trial if trial is not None and trial.attempt == event.attempt else None

    def launch(
        self,
        trial: Trial,
        budget: float | None,
        reason: str,
        time_s: float,
        slots: int,
        avoid: Collection[str] = (),
    ) -> Launch:
        """Let a trial hold `slots` slots for its next attempt, none of them on a host to avoid."""
        trial.slots, trial.host, trial.lost_on = slots, "", ""
        if trial.state is TrialState.FINISHED:
            trial.promotions += 1
            trial.promoting = True
            trial.failed_on = ""
            self._repeats.begin(trial)
        self._move(trial, "launch", time_s, reason)
        trial.attempt += 1
        if self.codes and self.codes[-1] != self.codes[0]:
            trial.notes[Mark.OTHER_CODE] = f"attempt {trial.attempt} ran code {self.codes[-1]}"
        trial.budget = budget
        trial.reason = reason
        return launch_of(trial, reason, avoid, self._repeats.launched(trial))

    def stop(self, trial: Trial, reason: str, time_s: float) -> None:
        """Note that a running trial has been told to stop."""
        self._move(trial, "stop", time_s, reason)

    def resume(
        self,
        limits: Limits,
        time_s: float,
        code: str | None = None,
        began_with: str | None = None,
    ) -> list[Trial]:
        """Go on under a new driver: nothing runs any more.

        Args:
            limits: Those from here on.
            time_s: Now.
            code: Digest of the user's code from here on, None where it isn't known.
            began_with: That of the first, if it has not been known.

        Returns:
            The trials that ran, now WAITING or, if they were to stop, STOPPED.
        """
        self._limits = limits
        if began_with and not self.codes:
            self.codes.append(began_with)
        if code:
            self.codes.append(code)
        gone = list(self.active.values())
        for trial in gone:
            self.lose(trial, "its driver was gone", time_s)
        self.hosts.restart()
        return gone

    def fail(self, trial: Trial, failure: Failure, time_s: float) -> None:
        """End a trial for good."""
        trial.error = failure
        note_failed_promotion(trial, failure.message)
        if trial.host:
            trial.end_on(trial.host, failure, time_s)
        self._move(trial, "fail", time_s, failure.message)

    def lose(self, trial: Trial, cause: str, time_s: float) -> None:
        """Let a trial wait for its next launch; its attempt has come to nothing.

        One that was to stop is over instead: that decision stands.
        """
        if trial.state is TrialState.STOPPING:
            self._finalize(trial, "end early", trial.metric_history[-1], time_s)
        else:
            self._move(trial, "lose", time_s, cause)

    def free(self, event: Freed) -> None:
        """Note that the checkpoints of some trials are gone."""
        for trial_id, size in event.sizes.items():
            trial = self.trials[trial_id]
            trial.freed, trial.freed_bytes = event.keep, size

    def apply(self, event: TrialEvent, time_s: float) -> Trial | None:
        """Note what happened to a trial.

        Returns:
            The trial, or None if the event is late news of an attempt that is over, or comes
            twice.
        """
        if isinstance(event, Used):  # of one whose end nobody has waited for
            if (used := self.trials.get(event.trial_id)) is not None:
                used.usage = one_after_another(used.usage, event.usage)
            return used
        trial = self.find(event)
        if trial is None or is_double(trial, event):
            return None
        if isinstance(event, AttemptEnd):
            trial.usage = one_after_another(trial.usage, event.usage)
            trial.host = event.host or trial.host
        match event:
            case Reported():
                take_report(trial, event, time_s)
            case Started():
                self._start(trial, event, time_s)
            case Noted() if event.mark in list(Mark):
                trial.notes.setdefault(Mark(event.mark), event.what)
            case Finished() if missing := self._criteria.missing(trial, event.metrics):
                self.fail(trial, missing, time_s)
            case Finished():
                note_returned(trial, event, self._marks.get(Mark.GUESSED))
                self._well(trial, time_s)
                trial.note_metrics(event.metrics)
                self._finish(trial, event, time_s)
            case Diverged():
                self._well(trial, time_s)
                self._diverge(trial, event.what, time_s)
            case Stopped() if trial.metric_history:
                self._well(trial, time_s)
                self._finalize(trial, "end early", trial.metric_history[-1], time_s)
            case Stopped():
                failure = Failure(
                    FailureKind.BAD_RESULT, "stopped by itself before its first report"
                )
                self.fail(trial, failure, time_s)
            case Failed():
                self._failed(trial, event, time_s)
            case Lost():
                trial.lost_hosts += [event.host] if event.host else []
                self._lost(trial, event, time_s)
        return trial

    def _start(self, trial: Trial, event: Started, time_s: float) -> None:
        self._move(trial, "start", time_s, f"started on {event.worker}" if event.worker else "")
        trial.worker = event.worker
        trial.hosts = tuple(event.hosts or ())
        trial.host = next(iter(trial.hosts), "")
        self.hosts.held(trial.hosts, 1)
        trial.started_s = time_s
        self.borrowing.pop(trial.trial_id, None)
        begin(
            trial,
            event,
            self.trials.get(trial.begins_from),
            counts_from_one=self._counts_from_one,
            is_first_code=bool(self.codes) and self.codes[-1] == self.codes[0],
        )

    def _finish(self, trial: Trial, event: Finished, time_s: float) -> None:
        """Take in what an attempt has returned: the trial has finished, or is repeated."""
        if self._repeats.take(trial, event):
            self._move(trial, "repeat", time_s, f"a repeat has ended: {event.value:.6g}")
            return
        what = "finish" if self._repeats.is_done(trial) else "end early"
        value = self._finalize(trial, what, event.value, time_s)
        if what == "finish":
            trial.results.append(Result(trial.budget, value))

    def _finalize(self, trial: Trial, what: str, value: float, time_s: float) -> float:
        value = self._repeats.value(trial, value)
        if trial.final_metric is None:
            self.finalized.append(trial)
        trial.final_metric = value
        why = f"; {fewer}" if (fewer := trial.notes.get(Mark.FEWER_REPEATS)) else ""
        self._move(trial, what, time_s, f"{what}: {value:.6g}{why}")
        self._criteria.judge(trial)
        self._repeats.judge(trial)
        return value

    def _diverge(self, trial: Trial, what: str, time_s: float) -> None:
        """End a trial without a value: what it had with a smaller budget is no result of it."""
        if trial.final_metric is not None:
            self.finalized.remove(trial)
            trial.final_metric, trial.values = None, ()
        trial.divergence = what
        self._move(trial, "diverge", time_s, what)

    def _well(self, trial: Trial, time_s: float) -> None:
        """Note that an attempt is about to end without a failure, where hosts are told from each other."""
        if trial.host:
            trial.end_on(trial.host, None, time_s)
            self.hosts.ended_well(trial.trial_id, trial.hosts or (trial.host,), trial.slots)

    def _failed(self, trial: Trial, event: Failed, time_s: float) -> None:
        """End a trial that has failed, or let it wait to be tried elsewhere."""
        failure, host = event.failure, event.host
        took_s = time_s - trial.launched_s
        again = bool(trial.failed_on) or trial.state is TrialState.STOPPING
        name, needed = trial.trial_id, trial.slots
        if host and self.hosts.failed(name, host, failure, took_s, needed, again=again):
            trial.failed_on = host
            trial.end_on(host, failure, time_s)
            self._move(trial, "try elsewhere", time_s, f"failed on {host}: {failure.message}")
            return
        self.fail(trial, failure, time_s)

    def _lost(self, trial: Trial, event: Lost, time_s: float) -> None:
        """Let a trial wait whose attempt was lost, perhaps to be tried elsewhere; give up if that was too often."""
        trial.losses += 1
        trial.lost_on = self.hosts.lost(event, trial.launched_s, time_s, trial.slots)
        if trial.state is TrialState.STOPPING or trial.losses <= self._limits.retries:
            self.lose(trial, event.cause, time_s)
            return
        message = f"{event.cause}; given up after {trial.losses} tries (limits.retries)"
        self.fail(trial, Failure(FailureKind.LOST, message), time_s)

    def _move(self, trial: Trial, what: str, time_s: float, why: str = "") -> None:
        before = trial.state
        trial.move(what, time_s, why)
        if trial.state is before:
            return
        self.counts[before] -= 1
        self.counts[trial.state] += 1
        if trial.state.ended:  # however: nobody waits for what it could say of a host
            self.hosts.drop(trial.trial_id)
            self.borrowing.pop(trial.trial_id, None)
        if trial.state.active and not before.active:
            self.active[trial.trial_id] = trial
            self.held += trial.slots
        elif before.active and not trial.state.active:
            del self.active[trial.trial_id]
            self.held -= trial.slots
            self.hosts.held(trial.hosts, -1)
            trial.hosts = ()
            if trial.started_s is not None:
                trial.busy_s += time_s - trial.started_s
                trial.started_s = None

    def validate(self) -> None:
        """Assert every invariant of the book.

        Raises:
            AssertionError: If one doesn't hold.
        """
        check_trials(self.trials, self.active, self.finalized, self.counts)
        assert self.held == sum(t.slots for t in self.active.values()), "slots held are miscounted"
        busy = sum(len(t.hosts) for t in self.active.values())
        assert self.hosts.busy == busy, "slots held on hosts are miscounted"
