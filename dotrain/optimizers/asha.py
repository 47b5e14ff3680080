"""ASHA, the promotion variant.

Source: Li, Jamieson, Rostamizadeh, Gonina, Ben-Tzur, Hardt, Recht and Talwalkar, "A System for
Massively Parallel Hyperparameter Tuning", MLSys 2020, Algorithm 2 (Asynchronous Successive
Halving). The names r, R and eta of the paper are `resource_min`, `resource_max` and
`reduction_factor`; the rung index k is the same, with s = 0.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from sortedcontainers import SortedList

from dotrain.core.policy import WAIT, AbstractOptimizer, Plan, Promotion, Rung, Suggestion
from dotrain.core.sampling import Proposals
from dotrain.core.trial import Trial, TrialState
from dotrain.optimizers.new_trials import NewTrials
from dotrain.samplers import make_sampler

#: (negative score, trial number, trial id): best first, equal scores in the order of sampling.
_Key = tuple[float, int, str]

#: A model is made of the highest rung with so many results.
_MODELLED = 10
#: How many configurations are drawn at random beside a model.
_RANDOM_SHARE = 1 / 3


class _Rung:
    """The trials that have completed one rung, best first, and which of them were promoted.

    Everything is O(log n) in the number of trials of the rung.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        #: How many have a value there.
        self.finished = 0
        self._all: SortedList[_Key] = SortedList()
        self._promotable: SortedList[_Key] = SortedList()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, key: _Key, *, promotable: bool) -> None:
        self._all.add(key)
        if promotable:
            self._promotable.add(key)

    def due(self, reduction_factor: int) -> tuple[str, int] | None:
        """Return (trial id, rank from 1) of the best trial to promote, or None.

        It is the best one that has not been promoted, if it is among the best
        ``len(self) // reduction_factor`` of all.
        """
        if not self._promotable:
            return None
        key = self._promotable[0]
        rank = self._all.bisect_left(key)
        return (key[2], rank + 1) if rank < len(self) // reduction_factor else None

    def promote(self) -> None:
        """Take the best unpromoted trial out of the promotable ones."""
        del self._promotable[0]


class ASHA(AbstractOptimizer):
    """Asynchronous successive halving: many short trials, few long ones, nobody waits.

    A free slot promotes the best trial that is due, of the highest rung that has one; if none is,
    it samples a new configuration. The search ends when `num_trials` configurations are sampled, or
    all that the space has, and no promotion is due any more. A trial that was stopped early or diverged takes the last
    place of its rung; a failed one takes none.

    With a `sampler`, new configurations are proposed by a model of the highest rung that has 10 results or more; one
    in three is drawn at random even so.

    Source of that: Falkner, Klein and Hutter, "BOHB: Robust and Efficient Hyperparameter Optimization at
    Scale", ICML 2018, section 4, with its fraction of random configurations.

    Args:
        resource_max: R, the most steps that one trial may use (>= 1).
        resource_min: r, the steps of the lowest rung (>= 1).
        reduction_factor: eta (>= 2): one in `reduction_factor` is promoted.
        sampler: Where new configurations come from: `random`, or `tpe`, which takes optuna.
    """

    gives_budget: ClassVar[bool] = True

    def __init__(
        self,
        *,
        resource_max: Annotated[int, Ge(1)],
        resource_min: Annotated[int, Ge(1)] = 1,
        reduction_factor: Annotated[int, Ge(2)] = 3,
        sampler: Literal["random", "tpe"] = "random",
    ) -> None:
        if resource_min > resource_max:
            raise ValueError(
                f"resource_min {resource_min} is over resource_max {resource_max}; swap them?"
            )
        self.resource_min = resource_min
        self.resource_max = resource_max
        self.reduction_factor = reduction_factor
        self.sampler = None if sampler == "random" else make_sampler(sampler)

    def check(self) -> None:
        """Refuse what the sampler can't do."""
        if self.sampler is not None:
            self.sampler.check(self.searchspace, self.num_trials)

    @property
    def budgets(self) -> list[int]:
        """The rungs' budgets, ``r * eta**k``, the largest not over R."""
        budgets = [self.resource_min]
        while budgets[-1] * self.reduction_factor <= self.resource_max:
            budgets.append(budgets[-1] * self.reduction_factor)
        return budgets

    def initialize(self) -> None:
        """Start with empty rungs."""
        self._rungs = [_Rung(budget) for budget in self.budgets]
        #: Rung of each trial's current or last attempt, by trial id.
        self._rung_of: dict[str, int] = {}
        self._running = 0
        self._new = NewTrials(
            self,
            self.sampler,
            self._level,
            random_share=_RANDOM_SHARE,
            budget=self.resource_min,
            drawn="random draw for the lowest rung",
        )
        self.proposals = self._new.proposals

    def get_suggestion(self, trial: Trial | None = None) -> Suggestion:
        """Return a promotion that is due, else a new configuration, else WAIT, else None."""
        if trial is not None:
            self._running -= 1
            self._complete(trial)
        suggestion = self._promotion() or self._new.next()
        if suggestion is None:
            return WAIT if self._running else None
        self._running += suggestion is not WAIT
        return suggestion

    def may_continue(self, trial: Trial) -> bool:
        """Unless it has come to the top rung: results to come may promote any other."""
        return self._rung_of.get(trial.trial_id, 0) < len(self._rungs) - 1

    def _complete(self, trial: Trial) -> None:
        rung = self._rungs[self._rung_of.setdefault(trial.trial_id, 0)]
        if trial.state is TrialState.FINISHED and trial.final_metric is not None:
            key = (-self.score(trial.final_metric), trial.number, trial.trial_id)
            rung.add(key, promotable=rung is not self._rungs[-1])
            rung.finished += 1
        elif trial.state in (TrialState.STOPPED, TrialState.DIVERGED):
            rung.add((float("inf"), trial.number, trial.trial_id), promotable=False)

    def _promotion(self) -> Promotion | None:
        for k in range(len(self._rungs) - 2, -1, -1):
            rung = self._rungs[k]
            due = rung.due(self.reduction_factor)
            if due is None:
                continue
            trial_id, rank = due
            rung.promote()
            self._rung_of[trial_id] = k + 1
            budget = self._rungs[k + 1].budget
            reason = (
                f"promoted to {budget} steps: rank {rank} of {len(rung)} at {rung.budget} steps, "
                f"within the best 1/{self.reduction_factor}"
            )
            return Promotion(trial_id, budget, reason)
        return None

    def _level(self, proposals: Proposals) -> float | bool:
        """Return the budget of the highest rung with results enough for a model."""
        modelled = (rung.budget for rung in reversed(self._rungs) if rung.finished >= _MODELLED)
        return next(modelled, False)

    def plan(self) -> Plan:
        """The least the rungs will hold: ``n_0`` configurations, ``n_(k+1) = n_k // eta``.

        At the end every trial among the best ``n_k // eta`` of rung k has been promoted, so no
        run does less; promotions that later results overtake come on top.
        """
        rungs = []
        at_most, few = self.configurations_at_most()
        configurations = trials = at_most or 0
        for budget in self.budgets:
            rungs.append(Rung(budget, trials))
            trials //= self.reduction_factor
        notes = list(few)
        if rungs[-1].budget < self.resource_max:
            notes.append(
                f"the top rung is {rungs[-1].budget} steps: the largest "
                f"{self.resource_min}*{self.reduction_factor}^k not over {self.resource_max}"
            )
        if rungs[-1].trials == 0:
            notes.append(
                f"no trial is sure to reach the top rung: that takes "
                f"{'configurations' if few else 'num_trials'} >= "
                f"{self.reduction_factor ** (len(rungs) - 1)}"
            )
        launches = sum(rung.trials for rung in rungs)
        return Plan(configurations, launches, tuple(rungs), tuple(notes))
