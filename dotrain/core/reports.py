"""The reports of an attempt, as its trial keeps them: what is news, what is made once more, what counts."""

from __future__ import annotations

from dotrain.core.beginning import begin_again
from dotrain.core.events import Reported, Started, TrialEvent
from dotrain.core.trial import Mark, Trial, TrialState


def is_double(trial: Trial, event: TrialEvent) -> bool:
    """Whether an event of a live attempt has been taken in before."""
    if isinstance(event, Started):
        return trial.state is not TrialState.LAUNCHED
    if isinstance(event, Reported):
        if trial.attempt_step == event.step and event.replaces:
            return event.replaces <= trial.repeats
        return trial.attempt_step is not None and (
            event.step <= trial.attempt_step and (event.kept or trial.resume_step <= event.step)
        )
    return False


def take_report(trial: Trial, event: Reported, time_s: float) -> None:
    """Note a report; it is none that has been taken in before."""
    trial.move("report", time_s)
    trial.metrics = event.metrics or trial.metrics
    trial.repeats = event.replaces or 0
    if event.replaces and trial.attempt_step == event.step:
        trial.metric_history[-1] = event.value
        what = f"step {event.step} was reported more than once; the last report of it counts"
        trial.notes.setdefault(Mark.REPLACED, what)
        return
    trial.attempt_step = event.step
    if not event.kept and event.step < trial.resume_step:
        begin_again(trial)
    trial.cut_off(event.step)
    trial.step_history.append(event.step)
    trial.metric_history.append(event.value)
    trial.steps_run += 1
