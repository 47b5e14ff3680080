"""What is new of a run's trials, for TensorBoard; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dotrain.core.trial import StoryLine, Trial, TrialState
from dotrain.results.marks import marks_text
from dotrain.store import Record
from dotrain.training.failure import plain_text

#: The tag of what counts in the end; one of its own, since a train function may return another
#: number than it reported last.
_RESULT = "result/"

#: TensorBoard's table counts steps in 32 bits.
_LAST_STEP = 2**31 - 1


#: What the table shows of a trial beside its hyperparameters, once it is over.
COLUMNS: Mapping[str, Callable[[Trial], Any]] = {
    "state": lambda trial: str(trial.state),
    "marks": marks_text,
    "budget": lambda trial: trial.budget,
    "steps": lambda trial: trial.steps_run,
    "seconds": lambda trial: round(trial.busy_s, 3),
}


class Start(NamedTuple):
    """A trial begins; or, the second time, this is all of its row in the table.

    Attributes:
        time_s: When it began.
        trial_id: Which.
        params: Its hyperparameters.
        columns: What `COLUMNS` say of it; nothing as long as that may change.
    """

    time_s: float
    trial_id: str
    params: Mapping[str, Any]
    columns: Mapping[str, Any]


class Scalars(NamedTuple):
    """Numbers by tag."""

    time_s: float
    step: int
    values: Mapping[str, float]


class Restart(NamedTuple):
    """What was told of this step and those after it is void."""

    time_s: float
    step: int


class End(NamedTuple):
    """A trial has come to its end."""

    time_s: float
    failed: bool


Item = Start | Scalars | Restart | End


@dataclass(slots=True)
class _Told:
    """What has been told of a trial.

    Attributes:
        reports: How many of its reports.
        lines: How many lines of its story.
        step: The last step.
        repeats: How many reports of that step have replaced the one before.
        result: Its last result.
        began_s: When it began, or None if that hasn't been told.
        is_over: Whether its end.
    """

    reports: int = 0
    lines: int = 0
    step: int = -1
    repeats: int = 0
    result: Scalars | None = None
    began_s: float | None = None
    is_over: bool = False


class Follower:
    """Says what is new of a run's trials; pure."""

    def __init__(self, header: Record) -> None:
        """Begin to follow a run from its header on."""
        self._metric = plain_text(header["metric"])
        # What is not searched is all that a single run has to tell.
        self._fixed: Mapping[str, Any] = header.get("config", {}).get("hparams") or {}
        self._told: dict[str, _Told] = {}
        self._result = _RESULT + self._metric

    def news(
        self, trial: Trial, time_s: float, metrics: Mapping[str, float] | None = None
    ) -> Iterator[Item]:
        """Yield what is new of a trial since it was last looked at.

        Args:
            trial: As it is now.
            time_s: When it became so.
            metrics: The other numbers that were reported or returned with it.
        """
        told = self._told.get(trial.trial_id)
        if told is None:
            told = self._told[trial.trial_id] = _Told()
        if told.began_s is None:
            begun = (s for s in trial.story if s.state is TrialState.RUNNING or s.state.ended)
            line = next(begun, None)
            if line is not None:
                told.began_s = line.time_s
                yield self._row(trial, told, {})
        if trial.steps_run > told.reports or trial.repeats > told.repeats:
            told.reports = trial.steps_run
            step, value = trial.step_history[-1], trial.metric_history[-1]
            if step <= told.step:
                yield from self._back_to(told, step, time_s)
            told.step = step
            yield self._scalars(time_s, step, self._metric, value, metrics)
        told.repeats = trial.repeats
        while told.lines < len(trial.story):
            line = trial.story[told.lines]
            yield from self._line(trial, told, line, metrics)
            told.lines += 1

    def _line(
        self, trial: Trial, told: _Told, line: StoryLine, metrics: Mapping[str, float] | None
    ) -> Iterator[Item]:
        state, time_s = line.state, line.time_s
        if state is TrialState.RUNNING:
            if trial.resume_step <= told.step:
                yield from self._back_to(told, trial.resume_step, time_s)
        elif state is TrialState.FINISHED:
            budget, value = trial.results[-1]
            step = round(budget or 0) if trial.last_step is None else trial.last_step
            told.result = self._scalars(time_s, step, self._result, value, metrics)
            yield told.result
            if budget is None:
                yield from self._end(trial, told, time_s)
        elif state.ended:
            if state is TrialState.STOPPED and trial.final_metric is not None:
                step, value = trial.last_step or 0, trial.final_metric
                told.result = self._scalars(time_s, step, self._result, value, None)
                yield told.result
            elif told.result is not None and trial.final_metric is None:
                # What it had with a smaller budget is no result of it any more.
                void = {self._result: math.nan}
                told.result = Scalars(time_s, max(told.step, told.result.step), void)
                yield told.result
            yield from self._end(trial, told, time_s)

    def _scalars(
        self,
        time_s: float,
        step: int,
        tag: str,
        value: float,
        others: Mapping[str, float] | None,
    ) -> Scalars:
        return Scalars(time_s, min(step, _LAST_STEP), {**(others or {}), tag: value})

    def _back_to(self, told: _Told, step: int, time_s: float) -> Iterator[Item]:
        """Take back what an earlier attempt told of steps that are now trained once more."""
        told.step = step - 1
        yield Restart(time_s, min(step, _LAST_STEP))
        if told.result is not None and told.result.step >= step:
            yield told.result

    def _row(self, trial: Trial, told: _Told, columns: Mapping[str, Any]) -> Start:
        assert told.began_s is not None
        return Start(told.began_s, trial.trial_id, trial.varied or self._fixed, columns)

    def _whole_row(self, trial: Trial, told: _Told) -> Start:
        return self._row(trial, told, {name: tell(trial) for name, tell in COLUMNS.items()})

    def _end(self, trial: Trial, told: _Told, time_s: float) -> Iterator[Item]:
        told.is_over = True
        yield self._whole_row(trial, told)
        well = (TrialState.FINISHED, TrialState.STOPPED)
        yield End(time_s, failed=trial.state not in well)

    def rest(self, trial: Trial, *, run_is_over: bool) -> Iterator[Item]:
        """Yield what is left to tell of a trial when no more will be written.

        Args:
            trial: As it is then.
            run_is_over: Whether it could still have been promoted until now.
        """
        told = self._told.get(trial.trial_id)
        if told is None or told.began_s is None or told.is_over:
            return
        if run_is_over and told.result is not None:
            told.is_over = True
            yield self._whole_row(trial, told)
            yield End(told.result.time_s, failed=False)
        else:
            yield self._whole_row(trial, told)

    @property
    def open(self) -> list[str]:
        """Ids of the trials that may still change."""
        return [trial_id for trial_id, told in self._told.items() if not told.is_over]
