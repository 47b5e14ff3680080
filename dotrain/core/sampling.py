"""Samplers: models of earlier results that propose the next configuration.

A model may be slow, and its arithmetic needn't come out alike on another machine. So it is asked outside of
the scheduler: the question is an instruction, `Ask`, and the answer an event, `Proposed`; both are in the
journal. A resume takes the answers as they were, and the model learns of all results anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, final

from dotrain.core.seeding import derive_seed
from dotrain.core.trial import Trial, TrialState
from dotrain.space import Params, Searchspace


@final
@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt of a trial has ended.

    Attributes:
        number: Of the trial.
        state: In which it has ended.
        budget: That of the attempt in steps, None where there is none.
        score: Its value, larger is better; None if it has none. Of several metrics, of the main one.
        steps: Reports that it has made.
        violations: By how much it is beyond each constraint, negative within; empty if there are none.
        scores: Its values where there are several metrics, each larger if better; empty if it has none, or there is one.
    """

    number: int
    state: TrialState
    budget: float | None
    score: float | None
    steps: int
    violations: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def excess(self) -> float:
        """By how much it is beyond all constraints together; 0 if it is feasible."""
        return sum(max(amount, 0.0) for amount in self.violations)


@final
@dataclass(frozen=True, slots=True)
class Earlier:
    """A result of before the run, from which a sampler learns as from a trial of its own.

    Attributes:
        params: A configuration of the space.
        value: Of the metric.
        budget: With which it was had in steps, None where that isn't known.
        values: Of all metrics, where there are several.
    """

    params: Params
    value: float
    budget: float | None = None
    values: tuple[float, ...] = ()


@final
@dataclass(frozen=True, slots=True)
class Question:
    """What a sampler is asked.

    Attributes:
        number: Of the question, from 0.
        trials: How many trials it knows of: those before this number, earlier ones first.
        outcomes: How many outcomes it knows of, earlier ones first.
        level: The budget whose results are to be modelled, None for all.
        again: How many answers to it didn't meet the space's constraints; each is asked for with a seed of its own.
    """

    number: int
    trials: int
    outcomes: int
    level: float | None = None
    again: int = 0


class AbstractSampler(ABC):
    """Proposes configurations from results.

    A proposal is a function of the space, the seed, the question, and what has been learned, in whatever portions
    that came: nothing else is kept between two questions but to save time. So a run goes on with the proposals
    that it would have had. The instance that is asked may live in a process of its own; it is made by pickling one that
    `begin` was not called on.

    Attributes:
        space: What to propose from.
    """

    #: Whether a proposal depends on results.
    learns: ClassVar[bool] = True

    space: Searchspace

    def begin(self, space: Searchspace, seed: int) -> None:
        """Forget everything; called before anything else, and by what derives from it.

        Args:
            space: What to propose from.
            seed: Of the run.
        """
        self.space = space
        self._seed = seed

    def check(self, space: Searchspace, num_trials: int | None) -> None:  # noqa: B027 - optional hook
        """Refuse what it can't do, before anything runs; `begin` was not called.

        Args:
            space: What is to be searched.
            num_trials: How many configurations at most.

        Raises:
            ValueError: With what is wrong and what would be right.
        """

    def seed_of(self, question: Question) -> int:
        """Return the seed of everything random in an answer, in [0, 2**31)."""
        again = [question.again] if question.again else []
        return derive_seed(self._seed, "sampler", question.number, *again)

    @abstractmethod
    def learn_trial(self, number: int, params: Params) -> None:
        """Learn that a trial is tried; they come in their order, each once.

        Args:
            number: Of the trial.
            params: Its configuration.
        """

    @abstractmethod
    def learn_outcome(self, outcome: Outcome) -> None:
        """Learn how an attempt of a trial has ended; there may be several of a trial, with growing budgets."""

    @abstractmethod
    def propose(self, question: Question) -> Params:
        """Return a configuration of the space; one that doesn't meet its constraints is asked for again.

        Args:
            question: Its `trials` and `outcomes` have all been learned, and no more.
        """


@final
class Proposals:
    """What a sampler is asked, and has answered: one question at a time.

    Attributes:
        sampler: Is asked.
        earlier: Configurations that were tried before the run.
        outcomes: What is known, in the order in which it came.
        space: What is searched, if it is another one than when the run began.
        asked: The question that is not answered yet, None if there is none.
        is_drawn: Whether the last answer was drawn at random in place of a proposal.
        valued: How many of the outcomes have a score, of configurations in the space.
    """

    def __init__(
        self,
        sampler: AbstractSampler,
        earlier: Iterable[tuple[Params, float, float | None, tuple[float, ...]]] = (),
    ) -> None:
        """Begin with nothing asked.

        Args:
            sampler: Is asked.
            earlier: What is known of before the run: configurations, each with its score, its budget and its `scores`.
        """
        self.sampler = sampler
        self.earlier: list[Params] = []
        self.outcomes: list[Outcome] = []
        for number, (params, score, budget, scores) in enumerate(earlier):
            self.earlier.append(params)
            outcome = Outcome(number, TrialState.FINISHED, budget, score, 0, scores=scores)
            self.outcomes.append(outcome)
        self.valued = len(self.outcomes)
        self.is_drawn = False
        self.asked: Question | None = None
        self.space: Searchspace | None = None
        self._answer: Params | None = None
        self._questions = 0
        #: The level of a question that is to be put.
        self._wanted: tuple[float | None] | None = None
        self._again = False

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is still to come."""
        return self.asked is not None or self._wanted is not None

    def learn(self, trial: Trial, score: float | None, scores: tuple[float, ...] = ()) -> None:
        """Note how an attempt has ended.

        Args:
            trial: Has ended.
            score: Its value, larger is better; None if it has none.
            scores: The same of several metrics.
        """
        is_searched = self.space is None or self.space.reading(trial.params) is not None
        self.valued += score is not None and is_searched
        steps = len(trial.metric_history)
        number = len(self.earlier) + trial.number
        self.outcomes.append(
            Outcome(number, trial.state, trial.budget, score, steps, trial.violations, scores)
        )

    def want(self, level: float | None = None) -> None:
        """Let a configuration be asked for, unless one is already, or is there.

        Args:
            level: As of `Question`.
        """
        if not self.is_waiting and self._answer is None:
            self._wanted = (level,)

    def take(self) -> Params | None:
        """Return the answer to the last question, once; None if there is none yet."""
        answer, self._answer = self._answer, None
        return answer

    def answer(self, number: int, params: Params, *, is_drawn: bool = False) -> bool:
        """Take in an answer.

        Args:
            number: Of the question.
            params: The configuration.
            is_drawn: Whether it was drawn at random, as no proposal meets the space's constraints.

        Returns:
            Whether it has been waited for.
        """
        if self.asked is None or self.asked.number != number:
            return False
        self._answer, self.asked, self._again = params, None, False
        self.is_drawn = is_drawn
        return True

    def due(self, trials: int) -> Question | None:
        """Return the question that is to be put now, once.

        Args:
            trials: How many the run has.
        """
        if self._wanted is not None:
            trials += len(self.earlier)
            self.asked = Question(self._questions, trials, len(self.outcomes), *self._wanted)
            self._questions += 1
            self._wanted, self._again = None, True
        again, self._again = self._again, False
        return self.asked if again else None

    def change_space(self, space: Searchspace, trials: Iterable[Trial]) -> None:
        """Count the outcomes in another space alone, from here on; what was asked and answered before is void.

        The numbers of questions go on, so that a sequence of points isn't begun again.

        Args:
            space: What is searched now.
            trials: All.
        """
        self.space = space
        inside = [params in space for params in self.earlier]
        inside += [space.reading(trial.params) is not None for trial in trials]
        self.valued = sum(one.score is not None and inside[one.number] for one in self.outcomes)
        self.asked = self._wanted = self._answer = None

    def restart(self) -> None:
        """Let the question be put again that a driver that is gone was to have answered."""
        self._again = self.asked is not None
