"""Where an optimizer's new trials come from: its generator, or what its sampler proposes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import final

from dotrain.core.policy import WAIT, AbstractOptimizer, Suggestion
from dotrain.core.sampling import AbstractSampler, Proposals
from dotrain.space import Params


@final
class NewTrials:
    """Suggests new trials, up to the optimizer's `num_trials`.

    What a sampler is to propose is asked for as soon as the one before is taken, so that no slot waits for a
    model; it knows of one result less for that.

    Attributes:
        proposals: What the sampler has proposed; None if there is none.
    """

    def __init__(
        self,
        optimizer: AbstractOptimizer,
        sampler: AbstractSampler | None = None,
        level: Callable[[Proposals], float | bool] = lambda _: False,
        *,
        random_share: float = 0.0,
    ) -> None:
        """Begin with none suggested.

        Args:
            optimizer: Set up; its generator, space and number of trials are used.
            sampler: Is asked.
            level: Returns the budget whose results are to be modelled, True for all of them, and False while
                there are too few: until then configurations are drawn at random.
            random_share: How many are drawn at random even so, in [0, 1).
        """
        scored = (
            (one.params, optimizer.score(one.value), one.budget, optimizer.scores(one.values))
            for one in optimizer.earlier
        )
        self.proposals = None if sampler is None else Proposals(sampler, scored)
        self._optimizer = optimizer
        self._level = level
        self._random_share = random_share
        self._suggested = 0
        #: Whether all that the space has was suggested.
        self._is_used_up = False
        #: Whether the next one is the sampler's; None while that isn't decided.
        self._is_asked: bool | None = None

    def next(self, budget: float | None = None, *, drawn: str = "random draw") -> Suggestion:
        """Return a new trial; WAIT while the sampler is being asked, and None if there is none left.

        Args:
            budget: Of the trial.
            drawn: The reason of one that is drawn at random.
        """
        if self._is_done:
            return None
        proposed = None
        if self._asks():
            assert self.proposals is not None
            proposed = self.proposals.take()
            if proposed is None:
                return WAIT
        params = self._untried(proposed)
        if params is None:
            self._is_used_up = True
            return None
        reason = drawn
        if proposed is not None:
            assert self.proposals is not None
            if params != proposed:
                reason = "random draw: the proposal was tried"
            elif self.proposals.is_drawn:
                reason = "random draw: no proposal meets the constraints"
            else:
                reason = "proposed by the sampler"
        self._suggested += 1
        self._is_asked = None
        if not self._is_done:
            self._asks()
        return self._optimizer.create_trial(params, budget, reason)

    def reopen(self) -> None:
        """Begin anew in another space, which may have configurations that were not suggested."""
        self._is_used_up, self._is_asked = False, None

    @property
    def _is_done(self) -> bool:
        limit = self._optimizer.num_trials
        return self._is_used_up or (limit is not None and self._suggested >= limit)

    def _untried(self, proposed: Params | None) -> Params | None:
        optimizer = self._optimizer
        if proposed is None:
            return optimizer.draw_untried()
        # In place of what was tried before, another is drawn.
        others = iter(lambda: optimizer.searchspace.sample(optimizer.rng), None)
        return optimizer.draw_untried(chain([proposed], others).__next__)

    def _asks(self) -> bool:
        """Decide whether the next one is the sampler's, and have it asked."""
        proposals = self.proposals
        if proposals is None or self._optimizer.first:
            return False
        if self._is_asked is None:
            level = self._level(proposals)
            if level is False:
                return False
            rng, share = self._optimizer.rng, self._random_share
            self._is_asked = not (share and rng.random() < share)
            if self._is_asked:
                proposals.want(None if level is True else level)
        return self._is_asked
