"""The reports of an attempt, as its trial keeps them: what is news, what is made once more, what counts."""

from __future__ import annotations

from dotrain.core.beginning import begin_again
from dotrain.core.events import Finished, Reported, Started, TrialEvent
from dotrain.core.marks import Mark
from dotrain.core.repeated import folder_of
from dotrain.core.trial import Trial, TrialState


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
    trial.note_metrics(event.metrics, event.step)
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


def note_returned(trial: Trial, event: Finished, guessed: str | None) -> None:
    """Note whether the value is a report of its own, which nobody has said, or another than was reported.

    Args:
        trial: Has finished.
        event: That.
        guessed: What of the run is guessed besides, or None.
    """
    if event.taken:
        guess = f"returned nothing, so its {event.taken} report counts"
        trial.notes[Mark.GUESSED] = f"{guess}; {guessed}" if guessed else guess
    if event.unlike:
        trial.notes[Mark.OTHER_VALUE] = event.unlike
    elif trial.repeated is None:  # of several repeats each may say so
        trial.notes.pop(Mark.OTHER_VALUE, None)


def note_failed_promotion(trial: Trial, message: str) -> None:
    """Note, of a trial that fails and has a value, of what budget that is."""
    if trial.final_metric is not None and trial.results:
        budgets = (trial.results[-1].budget, trial.budget)
        before, more = ("less" if one is None else f"{one:g}" for one in budgets)
        trial.notes[Mark.PROMOTION_FAILED] = (
            f"its value is that of budget {before}; attempt {trial.attempt}, with budget {more}, failed: {message}"
        )


def steps_of(trial: Trial) -> dict[str, int]:
    """Return how many steps the reports of a trial tell of, by the folder that it wrote to."""
    repeated = trial.repeated
    steps = {trial.folder: trial.step_history}
    if repeated is not None:
        others = {i: steps for i, (steps, _) in repeated.reports.items()}
        steps |= {folder_of(trial.trial_id, i): found for i, found in others.items()}
    return {folder: found[-1] + 1 for folder, found in steps.items() if found}
