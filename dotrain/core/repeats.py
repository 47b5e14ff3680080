"""Repeats: a configuration is trained several times, with other seeds, and its value is the mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self, final

from dotrain.core.events import Finished
from dotrain.core.floats import Floats
from dotrain.core.marks import Mark
from dotrain.core.policy import Direction, sign_of
from dotrain.core.repeated import Repeated
from dotrain.core.seeding import derive_seed
from dotrain.core.trial import Trial, TrialState


@final
class Repeats:
    """How often each configuration is trained, and whether once more is worth it.

    All trials have the same seeds in the same repeats, so that what differs between two of them is the
    configuration. One that is worse than the best in the repeats that it has isn't trained again, and never wins: a
    value of its own that is better than another one's mean may just have had the luck of its seed. With
    budgets, where a value also decides on a promotion, and with several metrics, where none is the best, all repeats
    are made.

    Source of that: Hutter, Hoos and Leyton-Brown, "Sequential Model-Based Optimization for General Algorithm
    Configuration", LION 2011, procedure Intensify: a challenger is given up as soon as it is worse than the incumbent
    on the runs that both have.

    Attributes:
        count: How often each is trained (>= 1).
    """

    def __init__(
        self,
        count: int = 1,
        direction: Direction = "max",
        seed: int = 0,
        *,
        are_all_made: bool = False,
    ) -> None:
        """Begin with no trial.

        Args:
            count: How often each is trained (>= 1).
            direction: ``max`` or ``min``.
            seed: The run's.
            are_all_made: Whether none is left out, however the others have come out.
        """
        self.count = count
        self._are_all_made = are_all_made
        self._sign = sign_of(direction)
        self._seed = seed
        #: The trial that is best of those that have all repeats, and its values.
        self._best: tuple[str, list[float]] | None = None

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Self:
        """Return those of a run.

        Args:
            header: The journal's first record.
        """
        count = (header.get("config", {}).get("search") or {}).get("repeats") or 1
        if count == 1:
            return cls()
        are_all_made = bool(header.get("metrics"))
        return cls(count, header["direction"], header["seed"], are_all_made=are_all_made)

    def begin(self, trial: Trial) -> None:
        """Let a trial begin with its first repeat, or go back to it with a larger budget."""
        if self.count == 1:
            return
        repeated = trial.repeated = trial.repeated or Repeated()
        repeated.values, repeated.metrics = [], []
        self._turn_to(trial, repeated, 0)

    def launched(self, trial: Trial) -> int:
        """Note that a trial is launched; return which of its repeats."""
        if trial.repeated is None:
            return 0
        trial.repeated.is_due = False
        return trial.repeated.index

    def take(self, trial: Trial, event: Finished) -> bool:
        """Note how a repeat has ended, and let the next one be due if it is worth it.

        Args:
            trial: Runs.
            event: Its end.

        Returns:
            Whether it is.
        """
        repeated = trial.repeated
        if repeated is None:
            return False
        repeated.values.append(event.value)
        repeated.metrics.append(event.metrics or trial.metrics or {})
        is_over = self.is_done(trial) or trial.state is not TrialState.RUNNING
        if is_over or self.hopeless(trial):
            return False
        repeated.is_due, trial.failed_on = True, ""
        trial.metrics = None  # else a repeat that tells of none would be taken to have these
        self._turn_to(trial, repeated, repeated.index + 1)
        return True

    def hopeless(self, trial: Trial) -> str:
        """Return why a trial that has finished a repeat isn't worth another, or ``""``."""
        repeated = trial.repeated
        if repeated is None or self._best is None or trial.budget is not None:
            return ""
        best, values = self._best
        done = len(repeated.values)
        own, other = _mean(repeated.values), _mean(values[:done])
        if self._sign * own >= self._sign * other:
            return ""
        same = f"the same {done} repeats" if done > 1 else "the same repeat"
        return f"{own:.6g} is worse than what {best} had in {same}, {other:.6g}"

    def value(self, trial: Trial, last: float) -> float:
        """Return the value that a trial ends with, and note if it is of fewer repeats.

        Args:
            trial: Its repeats that have finished are noted.
            last: What the current attempt has returned, or reported last.
        """
        repeated = trial.repeated
        if repeated is None:
            return last
        done = len(repeated.values)
        was_stopped = done == repeated.index
        if self.is_done(trial):
            trial.notes.pop(Mark.FEWER_REPEATS, None)
        else:
            why = "it was stopped" if was_stopped else self.hopeless(trial) or "it was to stop"
            trial.notes[Mark.FEWER_REPEATS] = f"{done} of {self.count} repeats have finished: {why}"
        if repeated.metrics:
            trial.metrics = _means(repeated.metrics)
        return _mean([*repeated.values, *([last] if was_stopped else [])])

    def judge(self, trial: Trial) -> None:
        """Hold others against a trial that has ended, if it is the best."""
        repeated = trial.repeated
        if repeated is None or trial.budget is not None or not trial.may_win or self._are_all_made:
            return
        if self._best is None or self._sign * _mean(repeated.values) > self._sign * _mean(
            self._best[1]
        ):
            self._best = trial.trial_id, repeated.values

    def is_done(self, trial: Trial) -> bool:
        """Whether a trial has all its repeats."""
        return trial.repeated is None or len(trial.repeated.values) >= self.count

    def _turn_to(self, trial: Trial, repeated: Repeated, repeat: int) -> None:
        if repeat != repeated.index:
            repeated.reports[repeated.index] = trial.step_history, trial.metric_history
            trial.step_history, trial.metric_history = repeated.reports.pop(repeat, ([], Floats()))
            repeated.index = repeat
            trial.metrics_step = None
        trial.seed = derive_seed(self._seed, "repeat", repeat)


def _mean(values: Iterable[float]) -> float:
    found = [*values]
    return sum(found) / len(found)


def _means(metrics: Iterable[Mapping[str, float]]) -> Mapping[str, float]:
    """Return the mean of each number that all have."""
    first, *others = metrics
    names = [name for name in first if all(name in one for one in others)]
    return {name: _mean(one[name] for one in (first, *others)) for name in names}
