"""What the optimizer suggests: asked while slots are free, held against its contract, put into the line."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, final

from dotrain.core.asking import calling, next_suggestion
from dotrain.core.book import TrialBook
from dotrain.core.events import Proposed
from dotrain.core.line import Line
from dotrain.core.policy import WAIT, AbstractOptimizer, Promotion
from dotrain.core.sampling import Question
from dotrain.core.trial import Trial, TrialState
from dotrain.errors import PolicyError
from dotrain.space import Searchspace, plain_params


@final
class Suggestions:
    """Asks an optimizer, and has its sampler asked.

    Attributes:
        to_tell: Ended trials that the optimizer has not been told of.
        over: Whether it has said that nothing is left to suggest.
    """

    def __init__(self, optimizer: AbstractOptimizer, book: TrialBook, line: Line) -> None:
        """Begin with nothing asked.

        Args:
            optimizer: Set up and initialized.
            book: Gets the trials that it suggests.
            line: Gets what is accepted.
        """
        self.to_tell: deque[Trial] = deque()
        self.over = False
        self._optimizer = optimizer
        self._name = type(optimizer).__name__
        self._book = book
        self._line = line

    def restart(
        self,
        num_trials: int | None,
        first: Iterable[Mapping[str, Any]],
        space: Mapping[str, Any] | None = None,
    ) -> None:
        """Go on under a new driver.

        Args:
            num_trials: How many configurations there may be from here on; never fewer.
            first: Configurations to be tried before any other.
            space: What is searched from here on, as of `Searchspace.to_record`; None is what was searched before.
        """
        if space is not None:
            with calling(self._optimizer):
                self._optimizer.change_space(Searchspace.of_record(space))
            self.over = False
        self._optimizer.first.extend(first)
        self.over = self.over and not self._optimizer.first
        if self._optimizer.proposals is not None:
            self._optimizer.proposals.restart()
        before = self._optimizer.num_trials
        if num_trials is not None and before is not None and num_trials > before:
            self._optimizer.num_trials = num_trials
            self.over = False

    def gather(self, slots: int, needed: int) -> bool:
        """Tell the optimizer of what has ended, and ask it while there is room in the line.

        Args:
            slots: That there are.
            needed: How many a trial takes.

        Returns:
            Whether it wants to see more results first.

        Raises:
            PolicyError: If it breaks its contract.
        """
        waiting = False
        while not self.over:
            if self.to_tell:
                suggestion = self._tell(self.to_tell.popleft())
            elif not waiting and self._line.room(slots, needed) >= needed:
                suggestion = self._ask(None)
            else:
                break
            waiting = suggestion is WAIT
            if isinstance(suggestion, Trial):
                self._accept(suggestion)
            elif isinstance(suggestion, Promotion):
                self._accept_promotion(suggestion)
            elif suggestion is None:
                self.over = True
        return waiting

    def refuse_to_wait(self) -> None:
        """Refuse that an optimizer waits while no trial is there that it could wait for.

        Raises:
            PolicyError: Unless it is its sampler's answer that it waits for.
        """
        proposals = self._optimizer.proposals
        if proposals is None or not proposals.is_waiting:
            raise PolicyError(
                f"optimizer {self._name} returned WAIT while no trial is running: it would wait for ever"
            )

    def question(self) -> Question | None:
        """Return what the optimizer's sampler is to be asked now, once."""
        proposals = self._optimizer.proposals
        return None if proposals is None else proposals.due(len(self._book.trials))

    def proposed(self, event: Proposed) -> bool:
        """Take in an answer; return whether it has been waited for."""
        proposals = self._optimizer.proposals
        if proposals is None:
            return False
        return proposals.answer(event.number, dict(event.params), is_drawn=bool(event.drawn))

    def _tell(self, trial: Trial) -> object:
        optimizer = self._optimizer
        if optimizer.proposals is not None:
            value, scores = trial.final_metric, optimizer.scores(trial.values)
            if optimizer.metrics and not scores:
                value = None
            score = None if value is None else optimizer.score(value)
            optimizer.proposals.learn(trial, score, scores)
        return self._ask(trial)

    def _ask(self, ended: Trial | None) -> object:
        first = len(self._optimizer.first)
        suggestion = next_suggestion(self._optimizer, ended)
        if first and isinstance(suggestion, Trial) and len(self._optimizer.first) == first:
            raise PolicyError(
                f"optimizer {self._name} suggests another configuration than those to be tried first "
                "(search.try_first); it is to take what draw_untried gives"
            )
        return suggestion

    def _accept(self, trial: Trial) -> None:
        if trial.state is not TrialState.NEW or trial.trial_id:
            raise PolicyError(
                f"optimizer {self._name} suggested {trial.trial_id} again; to go on with a trial, "
                "return a Promotion"
            )
        limit = self._optimizer.num_trials
        if limit is not None and len(self._book.trials) >= limit:
            self.over = True
            return
        try:
            trial.params = plain_params(trial.params)
        except TypeError as error:
            raise PolicyError(f"optimizer {self._name} suggested hyperparameter {error}") from None
        if unmet := self._optimizer.searchspace.unmet(trial.params):
            raise PolicyError(
                f"optimizer {self._name} suggested {trial.params}, which doesn't meet {unmet[0]}"
            )
        trial.lends = self._optimizer.lends_checkpoints
        if trial.begins_from:
            self._check_loan(trial)
        self._book.accept(trial)
        reason = trial.reason or f"suggested by {self._name}"
        self._line.accepted.append((trial, trial.budget, reason))

    def _check_loan(self, trial: Trial) -> None:
        """Refuse a trial that is to begin from a checkpoint which nobody keeps, or has nothing to do beyond it."""
        lender, steps = self._book.trials.get(trial.begins_from), trial.begins_at
        if lender is None or not 0 < steps == lender.lent_step:
            lends = "is unknown" if lender is None else f"lends step {lender.lent_step}"
            raise PolicyError(
                f"optimizer {self._name} lets a trial begin from {trial.begins_from} at step {steps}, which {lends}; "
                "declare lends_checkpoints, and give the lender to create_trial"
            )
        if trial.budget is None or trial.budget <= steps:
            raise PolicyError(
                f"optimizer {self._name} lets a trial begin at step {steps} with a budget of {trial.budget}; "
                "steps that the lender has done count"
            )

    def _accept_promotion(self, promotion: Promotion) -> None:
        trial = self._book.trials.get(promotion.trial_id)
        if trial is None or trial.state is not TrialState.FINISHED:
            state = "unknown" if trial is None else f"{trial.state}, not finished"
            raise PolicyError(
                f"optimizer {self._name} promotes {promotion.trial_id}, which is {state}"
            )
        if self._line.has(trial):
            raise PolicyError(f"optimizer {self._name} promotes {promotion.trial_id} twice")
        reason = promotion.reason or f"promoted by {self._name}"
        self._line.accepted.append((trial, promotion.budget, reason))
