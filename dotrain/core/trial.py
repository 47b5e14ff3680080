"""A trial: one configuration, its states, and the story of how it went through them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, MutableSequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple, final

from dotrain.core.arm import ArmRun
from dotrain.core.failure import Failure
from dotrain.core.floats import Floats
from dotrain.core.hosts import Try
from dotrain.core.marks import NEVER_WINS, Mark
from dotrain.core.repeated import Repeated, folder_of
from dotrain.core.usage import Usage


@final
class TrialState(StrEnum):
    """Where a trial is in its life."""

    NEW = "new"  # suggested, never launched
    LAUNCHED = "launched"  # holds its slots; the train function has not been entered
    RUNNING = "running"  # the train function runs
    STOPPING = "stopping"  # runs, and has been told to stop at its next report
    WAITING = (
        "waiting"  # lost its worker, is tried on another host or repeated; to be launched again
    )
    FINISHED = "finished"  # the last attempt returned a value
    STOPPED = "stopped"  # the last attempt was stopped early
    DIVERGED = "diverged"  # its metric became NaN or infinite: no fault, and no value
    FAILED = "failed"  # the last attempt failed for good

    @property
    def active(self) -> bool:
        """Whether a trial in this state holds slots."""
        return self in _ACTIVE

    @property
    def ended(self) -> bool:
        """Whether the trial has come to an end (an optimizer may still promote a finished one)."""
        return self in _ENDED

    @property
    def for_good(self) -> bool:
        """Whether nothing launches a trial again that has come to such an end."""
        return self.ended and (self, "launch") not in TRANSITIONS


_ACTIVE = frozenset({TrialState.LAUNCHED, TrialState.RUNNING, TrialState.STOPPING})
_ENDED = frozenset(
    {TrialState.FINISHED, TrialState.STOPPED, TrialState.DIVERGED, TrialState.FAILED}
)

#: Every transition there is: (state, what happens) -> next state.
TRANSITIONS: dict[tuple[TrialState, str], TrialState] = {
    (TrialState.NEW, "launch"): TrialState.LAUNCHED,
    (TrialState.WAITING, "launch"): TrialState.LAUNCHED,
    (TrialState.FINISHED, "launch"): TrialState.LAUNCHED,  # promotion
    (TrialState.LAUNCHED, "start"): TrialState.RUNNING,
    (TrialState.RUNNING, "report"): TrialState.RUNNING,
    (TrialState.STOPPING, "report"): TrialState.STOPPING,
    (TrialState.RUNNING, "stop"): TrialState.STOPPING,
    (TrialState.RUNNING, "finish"): TrialState.FINISHED,
    (TrialState.STOPPING, "finish"): TrialState.FINISHED,  # it returned before the stop got there
    (TrialState.STOPPING, "end early"): TrialState.STOPPED,
    (TrialState.RUNNING, "end early"): TrialState.STOPPED,  # it raised EarlyStop by itself
    (TrialState.RUNNING, "diverge"): TrialState.DIVERGED,
    (TrialState.STOPPING, "diverge"): TrialState.DIVERGED,
    (TrialState.LAUNCHED, "fail"): TrialState.FAILED,
    (TrialState.RUNNING, "fail"): TrialState.FAILED,
    (TrialState.STOPPING, "fail"): TrialState.FAILED,
    (TrialState.LAUNCHED, "lose"): TrialState.WAITING,
    (TrialState.RUNNING, "lose"): TrialState.WAITING,
    (TrialState.LAUNCHED, "try elsewhere"): TrialState.WAITING,  # it failed on one host
    (TrialState.RUNNING, "try elsewhere"): TrialState.WAITING,
    (
        TrialState.RUNNING,
        "repeat",
    ): TrialState.WAITING,  # it is trained once more, with another seed
}


class StoryLine(NamedTuple):
    """One line of a trial's story."""

    time_s: float
    state: TrialState
    what: str


class Result(NamedTuple):
    """What one finished attempt returned, or the mean of all repeats."""

    budget: float | None
    value: float


class IllegalTransition(Exception):
    """A trial was told to do what its state doesn't allow; a bug, told with its whole story."""

    def __init__(self, trial: Trial, what: str) -> None:
        lines = "\n".join(f"  {s.time_s:10.3f} s  {s.state:9}  {s.what}" for s in trial.story)
        super().__init__(f"{trial.trial_id} is {trial.state}; it can't {what}. Its story:\n{lines}")


@final
@dataclass(slots=True, eq=False)
class Trial:
    """One configuration and everything known about it.

    An optimizer makes one from `params` (and `budget`); the scheduler fills in the rest, which
    optimizers and early-stop rules read and never write. A trial has one *attempt* per launch:
    the first, one more for each promotion to a larger budget, and one for each retry.

    Attributes:
        params: Hyperparameters of this trial, by name; plain values.
        budget: How many steps the attempt may take, where the optimizer gives a number.
        reason: Why the optimizer suggested it, for people.
        trial_id: ``t0000``, ``t0001``, ... in the order of acceptance.
        number: The same as an integer, from 0.
        seed: Derived from the run's seed and `number`, unless the optimizer has set it.
        arm: Which run of an ablation study it is; None in a search.
        begins_from: The trial from whose checkpoint it begins, or ``""``: from the start.
        begins_at: The step of that checkpoint; before its first attempt has started, the most that it may be.
        lends: Whether others may begin from its checkpoints.
        step_history: Steps reported so far, increasing.
        metric_history: The metric at these steps.
        results: What finished attempts returned, in order.
        final_metric: The last value that counts: the last result, or, if the trial was stopped
            early, its last report. None before that, and of a trial that has diverged.
        divergence: What became of the metric of a trial that has diverged, or ``""``.
        error: Why it failed, if it did.
        notes: What the attempts have told about themselves, by the mark it leaves.
    """

    params: dict[str, Any]
    budget: float | None = None
    reason: str = ""
    trial_id: str = ""
    number: int = -1
    seed: int | None = None
    arm: ArmRun | None = None
    begins_from: str = ""
    begins_at: int = 0
    lends: bool = False
    slots: int = 1
    #: Its repeats, where each configuration is trained several times.
    repeated: Repeated | None = None
    state: TrialState = TrialState.NEW
    attempt: int = 0
    losses: int = 0
    #: Launches to a larger budget, those that went on from a checkpoint, and the steps that saved.
    promotions: int = 0
    continued: int = 0
    steps_saved: int = 0
    #: Attempts that found a checkpoint, for whatever reason they were launched.
    from_checkpoint: int = 0
    #: Which ``checkpoints.keep`` has freed its checkpoint, and how many bytes that were; ``""`` if
    #: none has, or it was begun again since.
    freed: str = ""
    freed_bytes: int = 0
    #: Launches that began again at step 0, for the checkpoint had been freed.
    begun_again: int = 0
    #: Promoted, and the larger attempt has not started yet.
    promoting: bool = False
    #: Steps that the current attempt found in a checkpoint, until its first report.
    resume_step: int = 0
    #: Whether `resume_step` has been counted as saved.
    counted: bool = False
    #: The last step that the current attempt reported, and how often it was reported again.
    attempt_step: int | None = None
    repeats: int = 0
    #: Reports received, over all attempts.
    steps_run: int = 0
    step_history: list[int] = field(default_factory=list)
    metric_history: MutableSequence[float] = field(default_factory=Floats)
    results: list[Result] = field(default_factory=list)
    final_metric: float | None = None
    #: The other numbers last reported or returned beside the metric.
    metrics: Mapping[str, float] | None = None
    #: The step that they were reported with; None if they were returned.
    metrics_step: int | None = None
    #: Its values where the run has several metrics, in their order; empty until it has all of them.
    values: tuple[float, ...] = ()
    #: By how much it is beyond each of the search's constraints, negative within; empty if there are none.
    violations: tuple[float, ...] = ()
    divergence: str = ""
    error: Failure | None = None
    #: Marks that attempts have left, each with what it means here.
    notes: dict[Mark, str] = field(default_factory=dict)
    worker: str = ""
    #: The hosts of the current attempt's ranks, while it runs and where they are known.
    hosts: tuple[str, ...] = ()
    #: The host that it ran on last: of the rank that failed, else of the chief; ``""`` where hosts
    #: aren't told from each other.
    host: str = ""
    #: Where it failed and is tried once more elsewhere, or ``""``.
    failed_on: str = ""
    #: Where it was lost last and is tried elsewhere for it, or ``""``.
    lost_on: str = ""
    #: How its attempts have ended, but for those that were lost, where their hosts are known.
    tries: list[Try] = field(default_factory=list)
    #: The hosts on which they were lost, where these are known.
    lost_hosts: list[str] = field(default_factory=list)
    #: When the current attempt entered the train function; None outside it.
    started_s: float | None = None
    #: Time spent in the train function, over all attempts that ended.
    busy_s: float = 0.0
    #: What the attempts have used, of those of which it is known: the processor time of all, the
    #: peak of the largest.
    usage: Usage | None = None
    story: list[StoryLine] = field(default_factory=list)

    @property
    def varied(self) -> dict[str, Any]:
        """What tells it from other trials, by name: hyperparameters, or its arm and seed."""
        return self.params if self.arm is None else self.arm.shown

    @property
    def may_win(self) -> bool:
        """Whether it has a value that may be the best."""
        return self.final_metric is not None and not NEVER_WINS & self.notes.keys()

    @property
    def folder(self) -> str:
        """The name of the folder that its current attempt writes to, or the last one has."""
        return folder_of(self.trial_id, self.repeated.index if self.repeated else 0)

    @property
    def folders(self) -> list[str]:
        """The names of all its folders, the first repeat's first."""
        repeats = self.repeated.folders if self.repeated else [0]
        return [folder_of(self.trial_id, repeat) for repeat in repeats]

    @property
    def avoids(self) -> str:
        """The host that its next attempt is to avoid, or ``""``."""
        return self.failed_on or self.lost_on

    @property
    def last_step(self) -> int | None:
        """The step last reported, or None."""
        return self.step_history[-1] if self.step_history else None

    @property
    def steps_done(self) -> int:
        """Steps that its reports tell of: one whose first step is where it began has done one more than its last."""
        last = self.last_step
        return 0 if last is None else last + (self.step_history[0] == self.begins_at)

    @property
    def lent_step(self) -> int:
        """The steps of the checkpoint that others may begin from: the budget last finished; 0 if there is none."""
        budget = self.results[-1].budget if self.lends and self.results else None
        return int(budget or 0)

    @property
    def at_last_step(self) -> bool:
        """Whether it has reported the last step of its budget: nothing is left to save."""
        last = self.last_step
        return self.budget is not None and last is not None and last + 1 >= self.budget

    @property
    def launched_s(self) -> float:
        """When the current attempt was launched."""
        launched = TrialState.LAUNCHED
        return next(line.time_s for line in reversed(self.story) if line.state is launched)

    @property
    def marks(self) -> list[Mark]:
        """What must be known wherever the trial's value is shown, in the order of `Mark`."""
        return [mark for mark in Mark if mark in self.notes]

    def note_metrics(self, metrics: Mapping[str, float] | None, step: int | None = None) -> None:
        """Note the numbers beside the metric, if there are any; those of a report with its step."""
        if metrics:
            self.metrics, self.metrics_step = metrics, step

    def end_on(self, host: str, error: Failure | None, time_s: float) -> None:
        """Note how the current attempt ends on a host, and when; the error is None if it ends well."""
        took_s = None if self.started_s is None else time_s - self.started_s
        self.tries.append(Try(host, error, took_s))

    def cut_off(self, step: int) -> None:
        """Forget the reports of a step and of those after it: they are made once more."""
        keep = bisect_left(self.step_history, step)
        del self.step_history[keep:]
        del self.metric_history[keep:]

    def begin_without_freed(self, resume_step: int) -> None:
        """Note that an attempt starts after the checkpoint was freed.

        Args:
            resume_step: Where all the same: 0, unless what was to be freed could not be deleted.
        """
        self.freed, self.freed_bytes = "", 0
        if resume_step == 0:
            self.begun_again += 1
            # Nothing is left of what went before, so these are no longer true.
            self.from_checkpoint = 0
            for mark in (Mark.CONTINUED, Mark.RECOUNTED, Mark.NOT_LOADED):
                self.notes.pop(mark, None)

    def move(self, what: str, time_s: float, why: str = "") -> None:
        """Go to the next state.

        Args:
            what: One of the verbs of `TRANSITIONS`.
            time_s: Now, in seconds since the run began.
            why: The reason, for people.

        Raises:
            IllegalTransition: If the table has no such transition.
        """
        try:
            state = TRANSITIONS[self.state, what]
        except KeyError:
            raise IllegalTransition(self, what) from None
        if state is not self.state:
            self.state = state
            self.story.append(StoryLine(time_s, state, why or what))

    def validate(self) -> None:
        """Assert what holds in every state.

        Raises:
            AssertionError: If something doesn't.
        """
        steps = self.step_history
        assert all(a < b for a, b in pairwise(steps)), "steps go back"
        assert len(steps) == len(self.metric_history), "steps and values differ in number"
        assert (self.state is TrialState.FAILED) == (self.error is not None)
        if self.state in (TrialState.FINISHED, TrialState.STOPPED):
            assert self.final_metric is not None, "an ended trial has no value"
        assert (self.state is TrialState.DIVERGED) == (self.divergence != "")
        assert not self.divergence or self.final_metric is None, "a diverged one has a value"
        assert self.values[:1] in ((), (self.final_metric,)), "its values are of another moment"
        assert (self.state is TrialState.NEW) == (self.attempt == 0)
        assert self.state.active or self.started_s is None
