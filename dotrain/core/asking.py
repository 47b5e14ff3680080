"""Asking the policies: what they raise, and answers that mean nothing, is a `PolicyError`."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from dotrain.core.events import Reported
from dotrain.core.policy import WAIT, AbstractEarlyStop, AbstractOptimizer, Direction, Promotion
from dotrain.core.trial import Trial, TrialState
from dotrain.errors import PolicyError


@contextmanager
def calling(policy: object) -> Iterator[None]:
    """Tell of an exception in a plugin as a `PolicyError`, with the plugin's own line."""
    try:
        yield
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise PolicyError(
            f"{_name(policy)} raised {type(error).__name__}: {error}\n"
            f"  at {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}"
        ) from error


def next_suggestion(optimizer: AbstractOptimizer, ended: Trial | None) -> object:
    """Return a `Trial`, a `Promotion`, `WAIT` or None.

    Args:
        optimizer: Is asked.
        ended: What it is told of.
    """
    with calling(optimizer):
        answer: object = optimizer.get_suggestion(ended)
    if answer is None or answer is WAIT or isinstance(answer, Trial | Promotion):
        return answer
    raise PolicyError(
        f"{_name(optimizer)} returned {answer!r}; expected a Trial, a Promotion, WAIT or None"
    )


def may_continue(optimizer: AbstractOptimizer, trial: Trial) -> bool:
    """Return whether a trial that has ended may be launched again."""
    if trial.state is not TrialState.FINISHED:
        return not trial.state.for_good
    with calling(optimizer):
        answer: object = optimizer.may_continue(trial)
    if isinstance(answer, bool):
        return answer
    raise PolicyError(f"{_name(optimizer)} answered may_continue with {answer!r}; expected a bool")


def tell_report(rule: AbstractEarlyStop, trial: Trial, event: Reported) -> None:
    """Tell a rule of a report."""
    with calling(rule):
        tell = rule.on_replaced if event.replaces else rule.on_report
        tell(trial, event.step, event.value)


def tell_end(rule: AbstractEarlyStop, trial: Trial) -> None:
    """Tell a rule of a trial's end."""
    with calling(rule):
        rule.on_end(trial)


def to_stop(
    rule: AbstractEarlyStop, trial: Trial, finalized: Sequence[Trial], direction: Direction
) -> Mapping[str, str]:
    """Return the ids of the trials that a rule wants to be stopped, each with its reason.

    Args, but for `trial`, which has just reported, are those of `AbstractEarlyStop.earlystop_check`.
    """
    with calling(rule):
        answer: Any = rule.earlystop_check({trial.trial_id: trial}, finalized, direction)
        if not answer:
            return {}
    if isinstance(answer, Mapping):
        named = list(answer.items())
    else:
        is_many = isinstance(answer, Collection) and not isinstance(answer, str)
        named = [(one, "") for one in (answer if is_many else [answer])]
    asked: list[tuple[Any, str]] = [
        (getattr(one, "trial_id", one), reason) for one, reason in named
    ]
    if not all(isinstance(one, str) for one, _ in asked):
        raise PolicyError(
            f"{_name(rule)} returned {answer!r}; expected trials or their ids, a dict from id to "
            "the reason, or None"
        )
    return {one: reason or type(rule).__name__ for one, reason in asked}


def _name(policy: object) -> str:
    kind = "optimizer" if isinstance(policy, AbstractOptimizer) else "early-stop rule"
    return f"{kind} {type(policy).__name__}"
