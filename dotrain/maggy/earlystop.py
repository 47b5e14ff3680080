"""Maggy's early-stop rules: its own two by their names, and those that users write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from dotrain.core import policy
from dotrain.core.rule_forms import in_full
from dotrain.core.trial import Trial as Own
from dotrain.maggy.trial import Trial, Trials

MedianStoppingRule: partial[dict[str, Any]] = partial(dict, name="median")
NoStoppingRule: partial[dict[str, Any]] = partial(dict, name="none")


class AbstractEarlyStop(ABC):
    """A rule of the user's, with or without `self`."""

    def __init_subclass__(cls) -> None:
        cls.earlystop_check = in_full(cls.earlystop_check)  # type: ignore[method-assign]

    @staticmethod
    @abstractmethod
    def earlystop_check(to_check: Any, finalized_trials: Any, direction: Any) -> Any:
        """Return the ids of trials to stop, or None.

        Args:
            to_check: The trial that has reported; also a mapping that has it by its id, as before Maggy 0.5.
            finalized_trials: Trials that have ended with a value.
            direction: ``max`` or ``min``.
        """


class _One(dict[str, Trial]):
    def __getattr__(self, name: str) -> Any:
        (trial,) = self.values()
        return getattr(trial, name)


class UsersRule(policy.AbstractEarlyStop):
    """Asks a rule of the user's, once more than `es_min` trials have ended, at every `es_interval`-th step."""

    def __init__(self, rule: Any, es_min: int, es_interval: int, trials: Trials) -> None:
        self._check, self._trials = rule.earlystop_check, trials
        self._min, self._interval = es_min, es_interval

    def earlystop_check(
        self,
        to_check: Mapping[str, Own],
        finalized_trials: Sequence[Own],
        direction: policy.Direction,
    ) -> list[str]:
        """Ask it."""
        (own,) = to_check.values()
        step = own.last_step or 0
        if len(finalized_trials) <= self._min or not step or step % self._interval:
            return []
        trial, ended = self._trials[own], [self._trials[one] for one in finalized_trials]
        answer = self._check(_One({trial.trial_id: trial}), ended, direction)
        ids = [answer] if isinstance(answer, str | Trial) else answer or []
        wanted = {getattr(one, "trial_id", one) for one in ids}
        return [mine.trial_id for mine, one in self._trials.items() if one.trial_id in wanted]
