"""Rungs, and what early stopping, rungs and checkpoints saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dotrain.core.policy import Direction, sign_of
from dotrain.core.trial import Trial, TrialState


@dataclass(frozen=True)
class Rung:
    """The trials that have come to the end of one budget.

    Attributes:
        budget: In steps.
        trials: How many there are.
        promoted: How many of them were launched to a larger one.
        best: The best value there.
        best_trial: Whose.
    """

    budget: float
    trials: int
    promoted: int
    best: float
    best_trial: str


def rungs_of(trials: Sequence[Trial], direction: Direction) -> list[Rung]:
    """Return the rungs, the lowest first; none if no trial was promoted."""
    if not any(trial.promotions for trial in trials):
        return []
    results: dict[float, list[tuple[float, Trial, int]]] = {}
    for trial in trials:
        for index, (budget, value) in enumerate(trial.results):
            if budget is not None:
                results.setdefault(budget, []).append((value, trial, index))
    sign = sign_of(direction)
    rungs = []
    for budget in sorted(results):
        here = results[budget]
        best, trial, _ = max(here, key=lambda result: (sign * result[0], -result[1].number))
        promoted = sum(trial.promotions > index for _, trial, index in here)
        rungs.append(Rung(budget, len(here), promoted, best, trial.trial_id))
    return rungs


@dataclass(frozen=True)
class Savings:
    """Steps, against every trial going all the way.

    Attributes:
        trials: Trials that count: those that finished or were stopped.
        full: The steps of one trial that goes all the way.
        trained: Steps that these trials took.
        by_stopping: Steps that early stopping has saved.
        by_ending: Steps that were never begun: the trial was not promoted or, without budgets,
            ended by itself.
        twice: Steps among `trained` that were taken again, for want of a checkpoint.
        by_checkpoints: Steps that promoted trials would have taken again without checkpoints.
    """

    trials: int
    full: int
    trained: int
    by_stopping: int
    by_ending: int
    twice: int
    by_checkpoints: int

    @property
    def if_all(self) -> int:
        """Steps if every trial went all the way, once."""
        return self.trials * self.full

    @property
    def share(self) -> float:
        """The share of `if_all` that was saved."""
        return 1.0 - self.trained / self.if_all


def savings_of(trials: Sequence[Trial]) -> Savings | None:
    """Return what was saved, or None where there is nothing to compare.

    A trial goes all the way with the largest budget that any was launched with or, without
    budgets, with the most steps of any that finished. Only a function that reports every step can
    be judged so, and only if some trial was stopped or ended at a smaller budget.
    """
    ended = [t for t in trials if t.state in (TrialState.FINISHED, TrialState.STOPPED)]
    reached = {t.trial_id: len(t.step_history) for t in ended}
    if not all(t.last_step is not None and t.last_step + 1 == reached[t.trial_id] for t in ended):
        return None
    budgets = [t.budget for t in trials if t.budget is not None]
    finished = [reached[t.trial_id] for t in ended if t.state is TrialState.FINISHED]
    full = int(max(budgets or finished, default=0))
    stopped = [t for t in ended if t.state is TrialState.STOPPED]
    if not ended or full < max(reached.values()):
        return None
    if not stopped and not (budgets and min(finished) < full):
        return None
    trained = sum(t.steps_run for t in ended)
    by_stopping = sum(full - reached[t.trial_id] for t in stopped)
    missing = len(ended) * full - sum(reached.values())
    return Savings(
        trials=len(ended),
        full=full,
        trained=trained,
        by_stopping=by_stopping,
        by_ending=missing - by_stopping,
        twice=trained - sum(reached.values()),
        by_checkpoints=sum(t.steps_saved for t in trials),
    )
