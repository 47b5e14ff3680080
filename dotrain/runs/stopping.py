"""Ending a run, or one of its trials, from another process that sees the run directory."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from dotrain.core.instructions import RunStatus
from dotrain.core.trial import Trial, TrialState
from dotrain.errors import DotrainError, ResourcesUnavailable
from dotrain.report.following import looks
from dotrain.report.reading import Run, read_run
from dotrain.report.story import find_trial
from dotrain.results.resuming import resume_command
from dotrain.store import Requests, StopRequest, read_holder


@final
@dataclass(frozen=True)
class Stopped:
    """What has become of what was to end.

    Attributes:
        run_dir: The run's.
        trial_id: Which trial, None if it was the run.
        state: Of the trial, or how the run stands.
        is_over: Whether it has ended; else it was asked to, and nobody has waited.
        text: All that for people.
    """

    run_dir: Path
    trial_id: str | None
    state: str
    is_over: bool
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "run_dir": str(self.run_dir),
            "trial": self.trial_id,
            "state": self.state,
            "over": self.is_over,
        }


def stop(
    path: Path,
    trial: str | None,
    why: str,
    timeout_s: float | None,
    say: Callable[[str], object],
    pause: Callable[[float], object] = time.sleep,
) -> Stopped:
    """Ask a run's driver to end the run as Ctrl-C does, or a trial at its next report.

    Args:
        path: The run directory.
        trial: ``t0007``, or its number; None for the whole run.
        why: For the record.
        timeout_s: How long to wait for the end, in seconds; None doesn't.
        say: Is told what is waited for, once.
        pause: Waits for a time in seconds.

    Raises:
        UsageError: If `path` is no run directory, or has no such trial.
        JournalError: If the journal is damaged or newer than this dotrain.
        ResourcesUnavailable: If it has not ended within that time; it is still to end.
        DotrainError: If nothing may be written there.
    """
    run = read_run(path)
    found = None if trial is None else find_trial(run, trial)
    if run.status is not RunStatus.RUNNING or (found is not None and found.state.ended):
        return _told(run, found)
    request = StopRequest(_me(), why, found and found.trial_id)
    try:
        Requests(run.run_dir).add(request)
    except OSError as error:
        raise DotrainError(
            f"{error.filename or path}: {error.strerror}; a run is stopped by who may write to its directory"
        ) from None
    if timeout_s is None:
        name = found.trial_id if found else path
        return Stopped(path, request.trial_id, "stopping", False, f"{name} has been asked to stop")
    what = f"{found.trial_id} to end at its next report" if found else f"{run.holder} to end it"
    say(f"waiting for {what}; Ctrl-C ends the waiting alone")
    begun_s = time.monotonic()
    for is_over in _until_over(run, found, pause):
        if is_over:
            break
        if time.monotonic() - begun_s > timeout_s:
            raise ResourcesUnavailable(
                f"not ended within {timeout_s:g} s (--timeout-s), driven by {run.holder}; "
                "it is still to end: look with dotrain status"
            )
    run = read_run(path)
    return _told(run, found and find_trial(run, found.trial_id))


def _until_over(run: Run, trial: Trial | None, pause: Callable[[float], object]) -> Iterator[bool]:
    if trial is not None:
        yield from looks(run, trial, pause)
    while trial is None:
        # Only when the driver has let go of it can somebody go on with the run.
        holder = read_holder(run.run_dir.lock)
        is_over = holder != run.holder or holder is None or holder.is_alive() is False
        yield is_over
        if is_over:
            return
        pause(0.1)


def _told(run: Run, trial: Trial | None) -> Stopped:
    path = run.run_dir.path
    if trial is None:
        text = f"{path}: {run.status}"
        if run.status.goes_on:
            text += f"; go on with: {resume_command(path, run.header)}"
        return Stopped(path, None, str(run.status), run.status is not RunStatus.RUNNING, text)
    text = f"{trial.trial_id}: {trial.state}"
    if trial.state is TrialState.FAILED and trial.error is not None:
        text += f", {trial.error.message}"
    elif trial.state.ended and trial.final_metric is not None:
        text += f", {run.header['metric']} {trial.final_metric:.6g}"
    return Stopped(path, trial.trial_id, str(trial.state), trial.state.ended, text)


def _me() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # no entry, as in some containers
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
