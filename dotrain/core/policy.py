"""The two plugin interfaces: what to try next, and what to stop.

Policies are pure: no I/O, no clock, and no randomness but the generator they are given. They
compare *scores*, which are metric values with the sign turned so that larger is better; `min`
and `max` are therefore the same code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any, ClassVar, Final, Literal, final

from dotrain.core.plan import Plan as Plan
from dotrain.core.plan import Rung as Rung
from dotrain.core.rule_forms import in_full
from dotrain.core.sampling import AbstractSampler, Earlier, Proposals
from dotrain.core.seeding import derive_rng
from dotrain.core.trial import Trial
from dotrain.core.untried import Untried
from dotrain.space import Params, Searchspace, plain_if_possible

Direction = Literal["max", "min"]


class _Wait(Enum):
    WAIT = "wait"

    def __repr__(self) -> str:
        return "WAIT"


#: What an optimizer returns when it must see more results before it can suggest anything.
WAIT: Final = _Wait.WAIT


@final
@dataclass(frozen=True, slots=True)
class Promotion:
    """A suggestion to go on with a finished trial, with a larger budget.

    Attributes:
        trial_id: The trial.
        budget: Its new budget in steps, the steps already done included.
        reason: Why, for people.
    """

    trial_id: str
    budget: float
    reason: str = ""


Suggestion = Trial | Promotion | Literal[_Wait.WAIT] | None


class AbstractOptimizer(ABC):
    """Decides what to try next.

    Subclasses take their options as keyword arguments of ``__init__``, with type annotations:
    these become the keys of ``search.optimizer`` in the config, and are validated as such.

    The scheduler calls `setup` and `initialize` once, `get_suggestion` whenever a trial has ended
    or a slot is free, and `finalize_experiment` once at the end. Trials are to be read only.

    Attributes:
        searchspace: What to sample from.
        num_trials: The most configurations the run will accept, or None.
        direction: ``max`` or ``min``; of several metrics, of the main one.
        metrics: The direction of each metric, the main one first, where there are several; else empty.
        rng: The only source of randomness.
        trials: Every trial so far by id, in order of acceptance; read only.
        tries_once: Whether a configuration of a finite space is tried only once. False goes on with
            a run that began before that was the rule; to be set before `initialize`.
        first: Configurations to be tried before any other, as far as they are given.
        earlier: Results of before the run, for a sampler to learn from; to be set before `initialize`.
        sampler: What it asks, for one that does.
        proposals: What a sampler proposes, for one that has a sampler; to be made in `initialize`. While an
            answer is waited for, `WAIT` may be returned though nothing runs.
    """

    #: Whether `search.num_trials` must be given.
    needs_num_trials: ClassVar[bool] = True
    #: Whether trials get a `budget`.
    gives_budget: ClassVar[bool] = False
    #: Whether a run may go on with another space; one that keeps anything of the space writes `space_changed` too.
    takes_other_spaces: ClassVar[bool] = False
    #: Whether it makes sense where there are several metrics: it compares no trials, or by all of them.
    takes_several_metrics: ClassVar[bool] = False
    #: Whether trials may begin from checkpoints of others; each keeps that of its last budget for it.
    lends_checkpoints: ClassVar[bool] = False

    searchspace: Searchspace
    num_trials: int | None
    direction: Direction
    metrics: Mapping[str, Direction]
    rng: Random
    trials: Mapping[str, Trial]
    tries_once: bool = True
    earlier: Sequence[Earlier] = ()
    sampler: AbstractSampler | None = None
    proposals: Proposals | None = None
    first: deque[Mapping[str, Any]]
    _untried: Untried | None = None
    _has_other_space: bool = False

    def setup(
        self,
        searchspace: Searchspace,
        num_trials: int | None,
        direction: Direction,
        seed: int,
        metrics: Mapping[str, Direction] | None = None,
    ) -> None:
        """Receive the experiment's settings; called before `initialize`, not to be overridden."""
        self.searchspace = searchspace
        self.num_trials = num_trials
        self.direction, self.metrics = direction, metrics or {}
        self.rng = derive_rng(seed, "optimizer")
        self.trials = {}
        self.first = deque()
        self._is_first: Params | None = None
        self._sign = sign_of(direction)
        self._untried = Untried(searchspace) if searchspace.is_finite else None
        self._has_other_space = False

    def change_space(self, searchspace: Searchspace) -> None:
        """Search another space from here on; not to be overridden.

        Args:
            searchspace: What is searched now.
        """
        self.searchspace = searchspace
        self._has_other_space = True
        self._untried = Untried(searchspace) if searchspace.is_finite else None
        if self._untried is not None:
            for trial in self.trials.values():
                self._untried.note(searchspace.reading(trial.params) or trial.params)
        self.first = deque(given for given in self.first if searchspace.allows(given))
        if self.proposals is not None:
            self.proposals.change_space(searchspace, self.trials.values())
        self.space_changed()

    def space_changed(self) -> None:  # noqa: B027 - optional hook
        """Learn that `searchspace` is another one than when the search began."""

    def is_searched(self, trial: Trial) -> bool:
        """Whether a trial lies in the space, which may be another one than when it was suggested."""
        return not self._has_other_space or self.searchspace.reading(trial.params) is not None

    def score(self, value: float) -> float:
        """Turn a metric value into a score: larger is better, whatever the direction."""
        return self._sign * value

    def scores(self, values: Sequence[float]) -> tuple[float, ...]:
        """Turn the values of several metrics, a trial's `values`, into scores; none remain none."""
        signs = map(sign_of, self.metrics.values())
        return tuple(sign * value for sign, value in zip(signs, values, strict=False))

    def create_trial(
        self,
        params: Mapping[str, Any],
        budget: float | None = None,
        reason: str = "",
        lender: Trial | None = None,
    ) -> Trial:
        """Return a new trial to suggest; with a `lender` it begins from that one's checkpoint of its last budget."""
        if params is self._is_first:
            reason = "to be tried first (search.try_first)"
        if self._untried is not None:
            self._untried.note({name: plain_if_possible(v) for name, v in params.items()})
        trial = Trial(dict(params), budget=budget, reason=reason)
        if lender is not None:
            trial.begins_from, trial.begins_at = lender.trial_id, lender.lent_step
        return trial

    def next_first(self) -> Params | None:
        """Return a configuration that is to be tried first, what isn't given of it drawn; None if none is left."""
        while self.first:
            params = self.searchspace.complete(self.first.popleft(), self.rng)
            if self._untried is None or self._untried.is_new(params):
                self._is_first = params
                return params
        return None

    def draw_untried(self, draw: Callable[[], Params] | None = None) -> Params | None:
        """Return a configuration that was not suggested before, or None if there is none left.

        What is to be tried `first` comes first. Of an infinite space every draw will do. It counts as tried what this method returns and
        what `create_trial` is given, whatever becomes of the trials.

        Args:
            draw: Returns a configuration of `searchspace`, at random; by default a draw of `rng`.
                It is called until it gives a new one that meets the space's constraints; after many repeats one of what
                is left is taken, each as likely.
        """
        if (first := self.next_first()) is not None:
            return first
        if draw is None:
            draw = lambda: self.searchspace.sample(self.rng)  # noqa: E731
        elif self.searchspace.constraints:
            own = draw
            draw = lambda: self.searchspace.meeting(own, self.rng)  # noqa: E731
        if self._untried is None or not self.tries_once:
            return draw()
        return self._untried.draw(draw, self.rng)

    def configurations_at_most(self) -> tuple[int | None, tuple[str, ...]]:
        """Return how many configurations will be suggested at most, for `plan`.

        Returns:
            `num_trials`, or all that the space has if these are fewer; and a note that says so.
        """
        size = self._untried.size if self._untried is not None and self.tries_once else None
        wanted = self.num_trials
        if size is None or wanted is None or size >= wanted:
            return wanted, ()
        note = f"the space has {size} configurations, fewer than num_trials {wanted}: each is "
        return size, (f"{note}tried once, then the search ends",)

    def plan(self) -> Plan | None:
        """Return what the search will do at least, or None if that can't be said beforehand."""
        return None

    def check(self) -> None:  # noqa: B027 - optional hook
        """Refuse settings that can't work together, before anything runs.

        Raises:
            ValueError: With what is wrong and what would be right.
        """

    @abstractmethod
    def initialize(self) -> None:
        """Get ready; everything `setup` sets is there."""

    @abstractmethod
    def get_suggestion(self, trial: Trial | None = None) -> Suggestion:
        """Return what to run next.

        Args:
            trial: A trial that has just ended (finished, stopped, diverged or failed), or None if
                a slot is free for another reason. Every ended trial is handed in exactly once per end.

        Returns:
            A new `Trial`, a `Promotion`, `WAIT` to be asked again after the next trial ends, or
            None if the experiment is over as soon as the running trials have ended.
        """

    def may_continue(self, trial: Trial) -> bool:
        """Say whether a finished trial may still be promoted; if not, its checkpoint isn't needed.

        Changes nothing, and what it has denied stays so, whatever comes: other trials, a resume,
        a larger `num_trials`. A promotion that it has returned needn't be told of here.

        Args:
            trial: Has finished; `get_suggestion` has been told, unless the experiment was over.
        """
        return True

    def finalize_experiment(self, trials: Sequence[Trial]) -> None:  # noqa: B027 - optional hook
        """Receive all trials when the experiment is over."""


class AbstractEarlyStop(ABC):
    """Decides which running trials to stop.

    Options are keyword arguments of ``__init__``, as for `AbstractOptimizer`. A rule that needs
    sums over the past keeps them up to date in `on_report` and `on_end` instead of reading every
    history at every report.
    """

    #: Whether it makes sense where there are several metrics; reports are of the main one.
    takes_several_metrics: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "earlystop_check" in cls.__dict__:
            cls.earlystop_check = in_full(cls.__dict__["earlystop_check"])  # type: ignore[method-assign]

    def check_with(self, optimizer: AbstractOptimizer) -> None:  # noqa: B027
        """Refuse an optimizer that this rule can't work with, before anything runs.

        Args:
            optimizer: Set up, not yet initialized.

        Raises:
            ValueError: With what is wrong and what would be right.
        """

    def initialize(self) -> None:  # noqa: B027
        """Forget every earlier run; called once before the first event."""

    def on_report(self, trial: Trial, step: int, value: float) -> None:  # noqa: B027
        """Learn of a report, before `earlystop_check` is asked about it."""

    def on_replaced(self, trial: Trial, step: int, value: float) -> None:  # noqa: B027
        """Learn that `value` replaces the last report, which was of the same step.

        Called instead of `on_report`; the trial's histories hold the new value already. A rule
        that keeps something of each report has to mend that here.
        """

    def on_end(self, trial: Trial) -> None:  # noqa: B027
        """Learn that a trial has ended: finished, stopped, diverged or failed."""

    @abstractmethod
    def earlystop_check(
        self,
        to_check: Mapping[str, Trial],
        finalized_trials: Sequence[Trial],
        direction: Direction,
    ) -> Collection[Trial | str] | Mapping[str, str] | None:
        """Return which of the trials to stop.

        A rule whose first argument is called ``trial`` gets the trial that has just reported in its place, and
        returns whether to stop that one: True, or the reason as text.

        Args:
            to_check: The trials that have just reported, by id.
            finalized_trials: Trials that finished or were stopped early, in that order.
            direction: ``max`` or ``min``.

        Returns:
            The trials to stop, or their ids, or a dict from id to the reason; one alone will do, and
            nothing or None lets all go on.
        """


def sign_of(direction: Direction) -> float:
    """Return 1.0 for ``max`` and -1.0 for ``min``."""
    return 1.0 if direction == "max" else -1.0
