"""Population based training: the worst of a population go on from the checkpoints of the best."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Annotated, ClassVar, Final

from annotated_types import Ge, Gt, Le
from sortedcontainers import SortedList

from dotrain.core.policy import WAIT, AbstractOptimizer, Plan, Promotion, Suggestion
from dotrain.core.trial import Trial, TrialState
from dotrain.optimizers.perturbing import perturbed
from dotrain.space import Params

#: (negative score, trial number, trial): best first, equal scores in the order of acceptance.
_Key = tuple[float, int, Trial]

_WORST: Final = math.inf


class _Level:
    """What the population had after so many steps, best first."""

    def __init__(self) -> None:
        self._keys: SortedList[_Key] = SortedList()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: _Key) -> None:
        self._keys.add(key)

    def rank(self, key: _Key) -> int:
        """Return the rank from 1."""
        return int(self._keys.bisect_left(key)) + 1

    def best(self, count: int) -> list[Trial]:
        """Return the best that have a value."""
        return [trial for score, _, trial in self._keys[:count] if score < _WORST]


class PBT(AbstractOptimizer):
    """Population based training: hyperparameters change while models train.

    The members of a population train in intervals. Who ends one begins the next, unless it is among the worst `quantile`
    of all that have come to so many steps: then a new trial takes its place, which begins from the checkpoint of one
    drawn from the best `quantile`, with hyperparameters near that one's. Those that fail, diverge, are stopped or infeasible
    are replaced so, too, and by a random draw while there is nobody to begin from. Nobody waits for others: who comes
    to a number of steps is compared with those that were there before. With fewer slots than members, those with the
    fewest steps come first.

    The train function must save a checkpoint before it returns, and go on from one with the hyperparameters that it is
    given. `num_trials`, which may be left out, is the most trials in all; when they are used up, everybody goes on as it
    is.

    Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017: truncation selection, perturb and resample.
    That results are compared at equal numbers of steps, as they come, is ours.

    Args:
        population: Members (>= 2), of which `quantile` must be one at least.
        interval: Steps (>= 1) after which the worst are replaced.
        resource_max: Steps (>= 2) after which a member has come to its end.
        quantile: Which share is replaced, and by which share (at most a half).
        perturbation_factors: What a number is multiplied by, one below 1 and one above it.
        resample_probability: How likely a hyperparameter is drawn anew instead.
    """

    needs_num_trials: ClassVar[bool] = False
    gives_budget: ClassVar[bool] = True
    lends_checkpoints: ClassVar[bool] = True

    def __init__(
        self,
        *,
        population: Annotated[int, Ge(2)],
        interval: Annotated[int, Ge(1)],
        resource_max: Annotated[int, Ge(2)],
        quantile: Annotated[float, Gt(0), Le(0.5)] = 0.25,
        perturbation_factors: tuple[float, float] = (0.8, 1.2),
        resample_probability: Annotated[float, Ge(0), Le(1)] = 0.25,
    ) -> None:
        if interval >= resource_max:
            raise ValueError(
                f"interval {interval} is not under resource_max {resource_max}: nobody would ever be replaced; "
                "take a part of it"
            )
        if population * quantile < 1 - 1e-9:
            raise ValueError(
                f"a share of {quantile:g} (quantile) of a population of {population} is nobody; take a population "
                f"of {math.ceil(1 / quantile - 1e-9)} or more"
            )
        low, high = perturbation_factors
        if not 0 < low < 1 < high < math.inf:
            raise ValueError(
                f"perturbation_factors: expected one number between 0 and 1, then one above 1, got [{low:g}, {high:g}]"
            )
        self.population = population
        self.interval = interval
        self.resource_max = resource_max
        self.quantile = quantile
        self.perturbation_factors = (low, high)
        self.resample_probability = resample_probability

    def check(self) -> None:
        """Refuse fewer trials than members."""
        if self.num_trials is not None and self.num_trials < self.population:
            raise ValueError(
                f"num_trials {self.num_trials} is under population {self.population}; it is the most trials in all, those "
                "that begin from another's checkpoint included: leave it out, or take more"
            )

    def initialize(self) -> None:
        """Nobody has begun."""
        self._levels: dict[int, _Level] = {}
        #: The members: each of them trains, or is to.
        self._members: set[Trial] = set()
        #: Members that have ended an interval, as (steps done, order, trial): those with the fewest come first.
        self._ready: list[tuple[int, int, Trial]] = []
        self._order = itertools.count()
        self._begun = self._suggested = self._running = 0
        #: Whether anybody has come to the end.
        self._is_through = False

    def get_suggestion(self, trial: Trial | None = None) -> Suggestion:
        """Return the next interval of a member or a new member, else WAIT, else None."""
        if trial is not None:
            self._running -= 1
            self._take(trial)
        suggestion = self._begin() or self._follow()
        if suggestion is None:
            return WAIT if self._running else None
        self._running += 1
        return suggestion

    def may_continue(self, trial: Trial) -> bool:
        """As long as it is a member."""
        return trial in self._members

    @property
    def _ends(self) -> list[int]:
        """The numbers of steps at which intervals end."""
        return [*range(self.interval, self.resource_max, self.interval), self.resource_max]

    @property
    def most_trials(self) -> int:
        """The most trials in all: as many as there are intervals, unless `num_trials` says otherwise."""
        return self.population * len(self._ends) if self.num_trials is None else self.num_trials

    # ---- what has ended ----

    def _take(self, trial: Trial) -> None:
        """Note what a member has come to; whether it goes on is decided when it could."""
        steps = int(trial.budget or 0)
        level = self._levels.setdefault(steps, _Level())
        if trial.state is not TrialState.FAILED:
            level.add(self._key(trial))
        if trial.state is TrialState.FINISHED and steps >= self.resource_max:
            self._is_through = True
            self._members.remove(trial)
            return
        if trial.state is not TrialState.FINISHED:
            self._members.remove(trial)
        heapq.heappush(self._ready, (steps, next(self._order), trial))

    def _key(self, trial: Trial) -> _Key:
        """Return the place of a trial where it is now; what has no value that counts is last."""
        is_good = trial.state is TrialState.FINISHED and not _is_infeasible(trial)
        value = trial.final_metric if is_good else None
        return (_WORST if value is None else -self.score(value), trial.number, trial)

    # ---- what comes next ----

    def _begin(self) -> Trial | None:
        """Return a member that begins from the start, if one is to."""
        if not (self.first or self._begun < self.population):
            return None
        is_first = self._begun >= self.population
        self._begun += 1
        member = self._drawn("random draw", self.next_first if is_first else self.draw_untried)
        if member is None and not is_first:  # the space has no more
            self._begun = self.population
        return member

    def _follow(self) -> Trial | Promotion | None:
        """Return what who has done the fewest steps does next, or who takes its place."""
        while self._ready:
            steps, _, trial = heapq.heappop(self._ready)
            if trial in self._members:
                return self._replaced(trial, steps) or self._promoted(trial, steps)
            if (member := self._in_place_of(trial, steps)) is not None:
                return member
        return None

    def _promoted(self, trial: Trial, steps: int) -> Promotion:
        level, key = self._levels[steps], self._key(trial)
        reason = f"goes on: rank {level.rank(key)} of {len(level)} at {steps} steps"
        return Promotion(trial.trial_id, self._after(steps), reason)

    def _replaced(self, trial: Trial, steps: int) -> Trial | None:
        """Return who takes the place of a member, if anybody does."""
        if not self._is_low(trial, steps):
            return None
        level, key = self._levels[steps], self._key(trial)
        why = f"which was infeasible at {steps} steps"
        if key[0] < _WORST:
            why = f"rank {level.rank(key)} of {len(level)} at {steps} steps"
        member = self._borrowed(self._lenders(steps, trial), f"{trial.trial_id}, {why}")
        if member is not None:
            self._members.remove(trial)
        return member

    def _in_place_of(self, trial: Trial, steps: int) -> Trial | None:
        """Return who takes the place of a member that has ended for good, if anybody does."""
        who = f"{trial.trial_id}, which has {_WORDS[trial.state]}"
        before = (self._lenders(end, trial) for end in reversed(self._ends) if end <= steps)
        lenders = next(filter(None, before), [])
        if lenders or self._is_through:
            return self._borrowed(lenders, who)
        return self._drawn(f"random draw in place of {who}", self.draw_untried)

    def _is_low(self, trial: Trial, steps: int) -> bool:
        """Whether a member is among the worst after so many steps, of those that have come there so far."""
        level, key = self._levels[steps], self._key(trial)
        return key[0] == _WORST or level.rank(key) > len(level) - _share(len(level), self.quantile)

    def _lenders(self, steps: int, but: Trial) -> list[Trial]:
        """Return of the best after so many steps those that may lend a checkpoint."""
        level = self._levels.get(steps, _Level())
        best = level.best(max(1, _share(len(level), self.quantile)))
        return [one for one in best if one is not but and self._lends(one)]

    def _lends(self, trial: Trial) -> bool:
        """Whether a member still has what is worth going on from, though it may have gone on meanwhile."""
        if trial not in self._members or not trial.lent_step:
            return False
        if trial.freed or _is_infeasible(trial):
            return False
        return trial.state is not TrialState.FINISHED or not self._is_low(trial, trial.lent_step)

    # ---- new members ----

    def _borrowed(self, lenders: list[Trial], who: str) -> Trial | None:
        """Return a trial that begins from the checkpoint of one of some, in place of another, if there may be one."""
        if not lenders or self._suggested >= self.most_trials:
            return None
        lender = self.rng.choice(lenders)
        params = perturbed(
            self.searchspace,
            lender.params,
            self.rng,
            self.perturbation_factors,
            self.resample_probability,
        )
        step = lender.lent_step
        reason = f"in place of {who}: from the checkpoint of {lender.trial_id} at {step} steps"
        return self._member(self.create_trial(params, self._after(step), reason, lender))

    def _drawn(self, reason: str, draw: Callable[[], Params | None]) -> Trial | None:
        """Return a trial that begins from the start, if there may be one."""
        params = draw() if self._suggested < self.most_trials else None
        if params is None:
            return None
        return self._member(self.create_trial(params, self._after(0), reason))

    def _member(self, trial: Trial) -> Trial:
        self._suggested += 1
        self._members.add(trial)
        return trial

    def _after(self, steps: int) -> int:
        """Return where the interval ends that begins after so many steps."""
        return min(steps + self.interval, self.resource_max)

    def plan(self) -> Plan:
        """Every member trains every interval, but for those that go on from who is further on."""
        size = self._untried.size if self._untried is not None and self.tries_once else None
        members = self.population if size is None else min(size, self.population)
        steps = members * self.resource_max
        notes = [
            f"{members} members train {self.resource_max} steps each, in intervals of {self.interval}: {steps} steps in all if none "
            f"fails, fewer if some go on from who is further on; {self.most_trials} trials at most"
        ]
        if members < self.population:
            notes.append(
                f"the space has {size} configurations, fewer than population {self.population}"
            )
        return Plan(members, members * len(self._ends), notes=tuple(notes))


_WORDS = {
    TrialState.FAILED: "failed",
    TrialState.DIVERGED: "diverged",
    TrialState.STOPPED: "been stopped",
}


def _is_infeasible(trial: Trial) -> bool:
    return max(trial.violations, default=0.0) > 0


def _share(count: int, quantile: float) -> int:
    """Return how many a share of some is, rounded: rounded down, those that come first would never be replaced."""
    return math.floor(count * quantile + 0.5 + 1e-9)
