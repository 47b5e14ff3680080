"""What the plain and the live display share: what is news, how far the run is, and the best so far."""

from __future__ import annotations

import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import IO, NamedTuple

from dotrain.core.events import Event, Failed, Finished, Lost, SlotsChanged
from dotrain.core.instructions import Finish, Instruction, RunStatus, SetAside
from dotrain.core.marks import Mark
from dotrain.core.observer import Observer, RunView
from dotrain.core.trial import Trial, TrialState
from dotrain.report.progress import Progress
from dotrain.report.subject import Subject
from dotrain.report.text import make_console, steps_text
from dotrain.results import best_trial
from dotrain.results.failures import failure_key, masked
from dotrain.results.search import ahead_text
from dotrain.results.text import number_text, printable
from dotrain.results.trials import values_text

INTERRUPTED = "stopping; Ctrl-C again to stop at once"
#: What is counted, if there is any, and in which words if not that of the state.
_COUNTED = [state for state in TrialState if state.ended and state is not TrialState.FINISHED]
_COUNTED.append(TrialState.WAITING)
_WORDS = {TrialState.STOPPED: "stopped early"}


class Kind(Enum):
    """What a piece of news is about."""

    FINISHED = "a trial has finished for the first time"
    BEST = "a trial has finished and is the best so far"
    PROMOTED = "a trial has finished with a larger budget"
    STOPPED = "a trial was stopped early"
    TROUBLE = "a trial failed, diverged or lost its worker, or workers have trouble"
    END = "the run has ended in another way than it should"


class News(NamedTuple):
    """Something that a person may want to be told."""

    kind: Kind
    text: str
    #: What it has in common with other trouble; told once, counted after that.
    key: object = None


class Watching(Observer):
    """Follows a run."""

    def __init__(self, subject: Subject, stream: IO[str]) -> None:
        """Get ready.

        Args:
            subject: What is about to run.
            stream: Where to show it.
        """
        self.subject = subject
        self._stream = stream
        self.best: Trial | None = None
        self.losses = 0
        self._known_trouble: set[object] = set()
        self._is_interrupted = False

    def start(self, run: RunView) -> None:
        """Look at what has happened before, if the run goes on."""
        self._own = _duplicate(self._stream)
        self.console = make_console(self._own or self._stream)
        self.run = run
        self.progress = Progress(run, self.subject.plan)
        trials = run.trials.values()
        self.best = best_trial(trials, self.subject.direction)
        self._runs: defaultdict[str, set[int]] = defaultdict(set)
        for trial in trials:
            self._note_run(trial)

    def on_interrupt(self) -> None:
        """Note it; told when there is time, for this is called in the middle of anything."""
        self._is_interrupted = True

    def close(self) -> None:
        """Let go of the stream."""
        if self._own is not None:
            self._own.close()

    # ---- what is news ----

    def take_in(
        self, event: Event, instructions: Sequence[Instruction], time_s: float
    ) -> Iterator[News]:
        """Take in an event, and yield what is new by it."""
        ended = list(self.progress.on_event(event, instructions, time_s))
        for trial in ended:
            self._note_run(trial)
            improved = self._note_end(trial)
            yield self._end_of(trial, event, improved)
        if isinstance(event, Lost) and not ended:
            self.losses += 1
            cause = printable(event.cause)
            yield News(
                Kind.TROUBLE,
                f"{event.trial_id} lost: {cause}",
                ("lost", masked(cause, tempfile.gettempdir())),
            )
        if isinstance(event, Failed) and event.host and not ended:
            error, host = event.failure, event.host
            text = f"{event.trial_id} failed on {host}, to be tried elsewhere: {error.message}"
            key = ("elsewhere", host, failure_key(error, tempfile.gettempdir()))
            yield News(Kind.TROUBLE, printable(text), key)
        if isinstance(event, SlotsChanged) and event.why:
            yield News(Kind.TROUBLE, printable(event.why), event.why)
        for instruction in instructions:
            if isinstance(instruction, SetAside):
                yield News(Kind.TROUBLE, printable(instruction.reason), instruction.reason)
            if isinstance(instruction, Finish) and instruction.status is not RunStatus.FINISHED:
                status, reason = instruction.status, printable(instruction.reason)
                # An interrupt's reason says the word already.
                text = reason if reason.startswith(status) else f"{status}: {reason}"
                yield News(Kind.END, text)

    def is_known(self, news: News) -> bool:
        """Whether the same trouble has been told before; from now on it has."""
        if news.key is None:
            return False
        known = news.key in self._known_trouble
        self._known_trouble.add(news.key)
        return known

    def _end_of(self, trial: Trial, event: Event, improved: bool) -> News:
        name = self.name_of(trial)
        if trial.error is not None:
            where = f" on {trial.host}" if trial.host else ""
            where += f" at {trial.error.location}" if trial.error.location else ""
            text = printable(f"{name} failed{where}: {trial.error.message}")
            return News(Kind.TROUBLE, text, failure_key(trial.error, tempfile.gettempdir()))
        if trial.divergence:
            text = printable(f"{name} diverged: {trial.divergence}")
            return News(Kind.TROUBLE, text, TrialState.DIVERGED)
        if trial.state is TrialState.STOPPED:
            why = next((s.what for s in reversed(trial.story) if s.state == "stopping"), "")
            fewer = trial.notes.get(Mark.FEWER_REPEATS, "") if isinstance(event, Finished) else ""
            why = why or (fewer and f"{name} isn't repeated: {fewer}")
            return News(Kind.STOPPED, printable(why or f"{name} has stopped by itself"))
        budget, value = trial.results[-1]  # the trial itself may have been promoted by now
        steps = "" if budget is None else f" after {steps_text(budget)}"
        told = number_text(value)
        if self.subject.metrics and len(trial.results) == 1:
            told = values_text(trial, self.subject.metrics)
        text = f"{name} finished{steps}: {told}"
        first = Kind.FINISHED if len(trial.results) == 1 else Kind.PROMOTED
        return News(Kind.BEST if improved and first is Kind.PROMOTED else first, text)

    def _note_end(self, trial: Trial) -> bool:
        """Keep the best trial; return whether it is another, or better, than before."""
        before = self.best, self.best and self.best.final_metric
        # Of a trial that was the best, a later and worse value may have made another the best.
        rivals = [self.best, trial] if self.best not in (None, trial) else []
        everyone = self.run.trials.values()
        self.best = best_trial([t for t in rivals if t] or everyone, self.subject.direction)
        return self.best is trial and before[0] is not trial

    def _note_run(self, trial: Trial) -> None:
        if trial.arm and trial.state in (TrialState.FINISHED, TrialState.STOPPED):
            self._runs[trial.arm.name].add(trial.arm.seed_index)

    # ---- in words ----

    def name_of(self, trial: Trial) -> str:
        """Return a trial's id; of a study's with its arm and seed."""
        if trial.arm is None:
            return trial.trial_id
        return f"{trial.trial_id} ({trial.arm.name}, seed {trial.arm.seed_index})"

    def best_text(self) -> str:
        """Return the best value so far; of a study, how many seeds are whole."""
        if self.subject.arms:
            whole = set.intersection(*(self._runs[arm] for arm in self.subject.arms))
            return f"{len(whole)} of {self.subject.seeds} seeds done in every arm"
        if self.best is None or self.best.final_metric is None:
            return "no result yet"
        of = f"{printable(self.subject.metric)} " if self.subject.metrics else ""
        return f"best {of}{number_text(self.best.final_metric)} ({self.best.trial_id})"

    def ahead_text(self) -> str | None:
        """Return the best value of the trials that run, if none that has ended is as good."""
        if self.subject.arms or self.run.status is not None:
            return None
        best = None if self.best is None else self.best.final_metric
        return ahead_text(self.run.active.values(), best, self.subject.direction)

    def arms_text(self) -> list[str]:
        """Return how many seeds of each arm have a result."""
        return [f"{printable(arm)} {len(self._runs[arm])}" for arm in self.subject.arms]

    def tally(self) -> list[str]:
        """Return how many trials have come to which end, in a few words each."""
        planned = f" of {self.progress.planned}" if self.progress.planned else ""
        done = "tried" if self.progress.has_rungs else "done"
        parts = [f"{self.progress.tried}{planned} {done}"]
        larger = sorted(self.progress.finished_at)[1:] if self.progress.has_rungs else []
        parts += [f"{self.progress.finished_at[b]} at {steps_text(b)}" for b in larger]
        counts = self.run.counts
        parts += [f"{counts[s]} {_WORDS.get(s, str(s))}" for s in _COUNTED if counts[s]]
        if self.losses:
            parts.append(f"attempts lost {self.losses} time{'s' if self.losses > 1 else ''}")
        return parts


def _duplicate(stream: IO[str]) -> IO[str] | None:
    """Return a stream of our own to where stderr leads now, or None for any other stream.

    While a trial runs in this process, stderr is its log.
    """
    if stream is not sys.__stderr__:
        return None
    try:
        number = os.dup(stream.fileno())
    except (OSError, ValueError):
        return None
    return open(number, "w", encoding=stream.encoding, errors="backslashreplace", buffering=1)
