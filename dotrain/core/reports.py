"""The reports of an attempt, as its trial keeps them: what is news, what is made once more, what counts."""

from __future__ import annotations

from dotrain.core.events import Finished, Reported, Started, TrialEvent
from dotrain.core.repeated import folder_of
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


def take_start(trial: Trial, event: Started, *, counts_from_one: bool) -> None:
    """Note where an attempt begins.

    Args:
        trial: Its trial.
        event: It has entered the train function.
        counts_from_one: As of `TrialBook`.
    """
    # Whatever lies beyond the checkpoint will be trained, and reported, once more.
    from_one = counts_from_one and bool(trial.step_history) and trial.step_history[0] > 0
    trial.cut_off(event.resume_step + from_one)
    if trial.metrics_step != trial.last_step:
        trial.metrics_step = None  # they were of a report that doesn't count any more
    trial.resume_step, trial.attempt_step, trial.repeats = event.resume_step, None, 0
    if trial.freed:
        trial.begin_without_freed(event.resume_step)
    if event.resume_step > 0:
        trial.from_checkpoint += 1
        what = f"attempt {trial.attempt} went on from its checkpoint of step {event.resume_step}"
        trial.notes[Mark.CONTINUED] = what
    trial.counted = trial.promoting and event.resume_step > 0
    if trial.counted:
        trial.continued += 1
        trial.steps_saved += event.resume_step
    trial.promoting = False


def take_report(trial: Trial, event: Reported, time_s: float) -> None:
    """Note a report; it is none that has been taken in before."""
    trial.move("report", time_s)
    trial.note_metrics(event.metrics, event.step)
    trial.repeats = event.replaces or 0
    if event.replaces and trial.attempt_step == event.step:
        trial.metric_history[-1] = event.value
        what = f"step {event.step} was reported more than once; the last report of it counts"
        trial.notes.setdefault(Mark.REPLACED, what)
        return
    trial.attempt_step = event.step
    if not event.kept and event.step < trial.resume_step:
        _begins_again(trial)
    trial.cut_off(event.step)
    trial.step_history.append(event.step)
    trial.metric_history.append(event.value)
    trial.steps_run += 1


def note_guess(trial: Trial, event: Finished, before: str | None) -> None:
    """Note if the value is a report of its own, which nobody has said.

    Args:
        trial: Has finished.
        event: That.
        before: What of the run is guessed besides, or None.
    """
    if event.taken:
        guess = f"returned nothing, so its {event.taken} report counts"
        trial.notes[Mark.GUESSED] = f"{guess}; {before}" if before else guess


def _begins_again(trial: Trial) -> None:
    """Go back to where the function counts from.

    Unless it has read its checkpoint, and only counts as if it had not, what the start has
    counted is taken back.
    """
    if Mark.RECOUNTED not in trial.notes:
        trial.from_checkpoint -= 1
        if not trial.from_checkpoint:
            trial.notes.pop(Mark.CONTINUED, None)
        if trial.counted:
            trial.continued -= 1
            trial.steps_saved -= trial.resume_step
            trial.counted = False
    trial.resume_step = 0


def steps_of(trial: Trial) -> dict[str, int]:
    """Return how many steps the reports of a trial tell of, by the folder that it wrote to."""
    repeated = trial.repeated
    steps = {trial.folder: trial.step_history}
    if repeated is not None:
        others = {i: steps for i, (steps, _) in repeated.reports.items()}
        steps |= {folder_of(trial.trial_id, i): found for i, found in others.items()}
    return {folder: found[-1] + 1 for folder, found in steps.items() if found}
