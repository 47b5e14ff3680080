"""Where an attempt begins: at step 0, at its trial's own checkpoint, or at that of another trial."""

from __future__ import annotations

from dotrain.core.events import Started
from dotrain.core.marks import Mark
from dotrain.core.trial import Trial

#: What is true of a value if it is of the value that it grew out of.
_HANDED_ON = (Mark.RECOUNTED, Mark.NOT_LOADED, Mark.OVER_BUDGET, Mark.OTHER_CODE)


def begin(
    trial: Trial,
    event: Started,
    lender: Trial | None,
    *,
    counts_from_one: bool,
    is_first_code: bool,
) -> None:
    """Note where an attempt begins.

    Args:
        trial: Has been launched.
        event: Its start.
        lender: The trial from whose checkpoint it begins; None if from none.
        counts_from_one: As of `TrialBook`.
        is_first_code: Whether it runs the code that the run began with.
    """
    step = event.resume_step
    if lender is not None and Mark.INHERITED not in trial.notes:
        trial.begins_at = step
    # Whatever lies beyond the checkpoint will be trained, and reported, once more.
    first = next(iter(trial.step_history), trial.begins_at)
    trial.cut_off(step + (counts_from_one and first > trial.begins_at))
    if trial.metrics_step != trial.last_step:
        trial.metrics_step = None  # they were of a report that doesn't count any more
    trial.resume_step, trial.attempt_step, trial.repeats = step, None, 0
    if trial.freed:
        trial.begin_without_freed(step)
    is_own = step > trial.begins_at
    if is_own:
        what = f"attempt {trial.attempt} went on from its checkpoint of step {step}"
        trial.from_checkpoint += 1
        trial.notes[Mark.CONTINUED] = what
    else:  # it begins again
        if is_first_code and trial.repeated is None:
            trial.notes.pop(Mark.OTHER_CODE, None)
        if lender is not None and step > 0:
            _inherit(trial, lender, step)
    trial.counted = trial.promoting and is_own
    if trial.counted:
        trial.continued += 1
        trial.steps_saved += step - trial.begins_at
    trial.promoting = False


def _inherit(trial: Trial, lender: Trial, step: int) -> None:
    trial.notes[Mark.INHERITED] = f"began from {lender.trial_id}'s checkpoint of step {step}"
    for mark in _HANDED_ON:
        if mark in lender.notes:
            what = f"{lender.trial_id}, from which it began: {lender.notes[mark]}"
            trial.notes.setdefault(mark, what)


def begin_again(trial: Trial) -> None:
    """Go back to where the function counts from.

    Unless it has read its checkpoint, and only counts as if it had not, what the start has
    counted is taken back.
    """
    if Mark.RECOUNTED not in trial.notes:
        if trial.resume_step > trial.begins_at:
            trial.from_checkpoint -= 1
        if not trial.from_checkpoint:
            trial.notes.pop(Mark.CONTINUED, None)
        if trial.counted:
            trial.continued -= 1
            trial.steps_saved -= trial.resume_step - trial.begins_at
            trial.counted = False
    trial.resume_step = 0
