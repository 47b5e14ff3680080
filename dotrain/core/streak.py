"""Whether anything can be expected of further trials after so many that came to nothing."""

from __future__ import annotations

from dotrain.core.trial import Trial, TrialState


class Streak:
    """Counts the trials that have failed or diverged one after the other."""

    def __init__(self) -> None:
        """Begin with no end seen."""
        self._failures_in_a_row = 0
        #: Ends of trials that diverged, as long as no other end has been seen; else None.
        self._only_diverged: int | None = 0

    def restart(self) -> None:
        """Count anew, under a new driver."""
        self._failures_in_a_row = 0
        self._only_diverged = None if self._only_diverged is None else 0

    def count(self, trial: Trial) -> None:
        """Take in a trial that has ended."""
        # One that diverges is no fault, and no proof that the next will not fail.
        if trial.state is TrialState.FAILED:
            self._failures_in_a_row += 1
        elif trial.state is not TrialState.DIVERGED:
            self._failures_in_a_row = 0
        if trial.state is not TrialState.DIVERGED:
            self._only_diverged = None
        elif self._only_diverged is not None:
            self._only_diverged += 1

    def hopeless(self, trial: Trial, enough: int) -> str:
        """Return why nothing can be expected of further trials, or ``""``.

        Args:
            trial: The last one that has ended.
            enough: So many in a row tell.
        """
        if self._failures_in_a_row >= enough:
            return (
                f"{self._failures_in_a_row} trials in a row failed (limits.max_failures); "
                f"the last: {trial.error.message if trial.error else ''}"
            )
        if (self._only_diverged or 0) >= enough:
            return (
                f"the first {self._only_diverged} trials all diverged (limits.max_failures); "
                f"the last {trial.divergence}"
            )
        return ""
