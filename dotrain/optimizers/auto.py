"""`optimizer: auto`: which of the others a search gets, and why; a function of facts and of nothing else.

The rules are those of `docs/searchers.md`, with its figures: what halves is ahead where trials can be short, a model where
they can't, and neither where there are too few results to learn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, final

from annotated_types import Ge

from dotrain.optimizers.halving import budgets_of

#: What the config says to have one chosen.
NAME: Final = "auto"

#: Results that a model needs before it is asked: the default of those that have one.
_STARTUP: Final = 10
#: A model that proposes fewer than this isn't worth having.
_LEAST_PROPOSED: Final = 10
#: What an ask of TPE takes was measured up to so many trials, and grows with them.
_MOST_MODELLED: Final = 10_000
#: Up to so many trials an ask of a Gaussian process, whose time grows with the third power, takes less than a second.
_MOST_PROCESS: Final = 300


@final
@dataclass(frozen=True)
class Facts:
    """What a choice goes by.

    Attributes:
        parameters: How many hyperparameters are searched.
        size: How many configurations the space has; None for a continuum, or where that can't be told.
        is_numeric: Whether each is a number, and in use in every trial.
        num_trials: How many configurations may be tried, None where nothing is said.
        slots: How many trials run at a time.
        takes_budget: Whether the functions can keep to a budget, and nothing else gives one.
        takes_checkpoint: Whether the train function can go on from a checkpoint.
        may_promote: Whether the early-stop rule lets trials have budgets.
        has_earlier: Whether there are results of before the run to learn from.
        packages: Those installed, of what samplers import.
        several_metrics: Whether there is more than one metric, so that no trial is the best.
    """

    parameters: int
    size: int | None
    is_numeric: bool
    num_trials: int | None
    slots: int
    takes_budget: bool
    takes_checkpoint: bool
    may_promote: bool
    has_earlier: bool
    packages: frozenset[str]
    several_metrics: bool = False

    def sampler(self, num_trials: int) -> tuple[str | None, str]:
        """Return the model that learns best from so many trials; None, and what is missing, if there is none."""
        may_be_slow = num_trials <= _MOST_PROCESS and not self.several_metrics
        if may_be_slow and "scipy" in self.packages:
            return "gp", ""
        if "optuna" in self.packages or self.has_earlier:
            return "tpe", ""
        return None, _NO_OPTUNA


@final
@dataclass(frozen=True)
class Choice:
    """An optimizer as a config names it, and why it was chosen.

    Attributes:
        name: Of the optimizer.
        options: Its keys.
        why: A sentence's part that goes on "since".
    """

    name: str
    options: Mapping[str, Any]
    why: str

    @property
    def section(self) -> dict[str, Any]:
        """As `search.optimizer` of a config."""
        return {"name": self.name, **self.options}

    def __str__(self) -> str:
        options = "".join(f", {key}: {value}" for key, value in self.options.items())
        return f"auto takes {{name: {self.name}{options}}}, since {self.why}"


@final
class Auto:
    """One of the others, by the space, the trials and what the train function takes: `check` says which.

    It is chosen once, when the run begins; a run that goes on keeps it.

    Args:
        resource_max: The most steps that one trial may use (>= 1). Without it none is chosen that gives budgets.
        resource_min: The least steps of a trial (>= 1), where budgets are given; by default as few as `num_trials` allows.
        reduction_factor: One in `reduction_factor` is promoted (>= 2), where budgets are given.
    """

    #: Whether `search.num_trials` must be given.
    needs_num_trials = False

    def __init__(
        self,
        *,
        resource_max: Annotated[int, Ge(1)] | None = None,
        resource_min: Annotated[int, Ge(1)] | None = None,
        reduction_factor: Annotated[int, Ge(2)] = 3,
    ) -> None:
        if resource_max is None and (resource_min is not None or reduction_factor != 3):
            raise ValueError("resource_min and reduction_factor mean nothing without resource_max")
        if resource_max is not None and (resource_min or 1) > resource_max:
            raise ValueError(
                f"resource_min {resource_min} is over resource_max {resource_max}; swap them?"
            )
        self.resource_max = resource_max
        self.resource_min = resource_min
        self.reduction_factor = reduction_factor

    def choose(self, facts: Facts) -> Choice:
        """Return what these facts speak for."""
        if not facts.parameters:
            return Choice("random", {}, "nothing is searched")
        if facts.num_trials is None:
            if facts.size is None:
                return Choice("random", {}, "num_trials isn't given")
            why = f"no num_trials is given, so each of the {facts.size:,} configurations is tried"
            return Choice("grid", {}, why)
        whole = _in_full(facts, facts.num_trials)
        if self.resource_max is None:
            told = facts.takes_budget and facts.may_promote
            more = (
                "; the train function takes budget: with resource_max, asha would stop most early"
            )
            return Choice(whole.name, whole.options, whole.why + more * told)
        halving, against = self._halving(facts, facts.num_trials, self.resource_max)
        if halving is not None:
            return halving
        return Choice(
            whole.name, whole.options, f"{whole.why}; resource_max has no use, as {against}"
        )

    def _halving(self, facts: Facts, num_trials: int, most: int) -> tuple[Choice | None, str]:
        """Return what promotes the best, or why nothing can."""
        eta = self.reduction_factor
        if not facts.takes_budget:
            return None, "the train function doesn't take budget, or hparams give it"
        if facts.several_metrics:
            return None, "with several metrics no trial is the best of a rung"
        if not facts.may_promote:
            return None, "the early-stop rule takes no optimizer that gives budgets"
        rungs = 1
        while eta**rungs <= num_trials and most // eta**rungs >= (self.resource_min or 1):
            rungs += 1
        least = self.resource_min or max(1, most // eta ** (rungs - 1))
        budgets = budgets_of(least, most, eta)
        if len(budgets) < 2:
            return None, (
                f"{num_trials} trials are too few to promote one in {eta}"
                if eta > num_trials
                else f"there is one budget only between {least} and {most}"
            )
        options = {"resource_max": most, "resource_min": least, "reduction_factor": eta}
        why = f"trials can be short: one in {eta} goes on, from {least} to {budgets[-1]} steps"
        if not facts.takes_checkpoint:
            why += ", each time from its start, as the train function takes no checkpoint"
        # What is promoted makes no new configuration, so a model is asked once the lowest rung has enough results.
        proposed = num_trials - max(_STARTUP * eta, facts.slots)
        if facts.has_earlier or _LEAST_PROPOSED <= proposed <= _MOST_MODELLED:
            sampler, missing = facts.sampler(num_trials)
            if sampler is not None:
                with_model = {**options, "sampler": sampler}
                return Choice("asha", with_model, why + "; a model proposes them"), ""
            why += f"; they are drawn at random, as {missing}"
        else:
            why += (
                f"; {num_trials:,} of them are too {'few' if proposed < 10 else 'many'} for a model"
            )
        return Choice("asha", options, why), ""


_NO_OPTUNA: Final = "optuna isn't installed (pip install 'dotrain[optuna]')"


def _in_full(facts: Facts, num_trials: int) -> Choice:
    """Return what is best where every trial is trained in full."""
    if not facts.has_earlier:
        if facts.size is not None and facts.size <= num_trials:
            return Choice("random", {}, f"all {facts.size:,} configurations are tried anyway")
        known_late = max(_STARTUP, facts.slots)
        if num_trials - known_late < _LEAST_PROPOSED:
            why = f"{num_trials:,} trials are too few for a model"
            if facts.slots > _STARTUP:
                why += f" where {facts.slots:,} run at a time"
            return Choice("random", {}, f"{why}, which needs {_STARTUP} results first")
        if num_trials > _MOST_MODELLED:
            return Choice(
                "random", {}, f"{num_trials:,} trials are more than a model reads in good time"
            )
    why = "a model learns from results"
    if facts.has_earlier:
        why += ", and there are some from the start (search.warm_start)"
    if facts.several_metrics:
        why += " of several metrics"
    sampler, missing = facts.sampler(num_trials)
    if sampler is not None:
        return Choice(sampler, {}, why)
    if "cmaes" in facts.packages and facts.is_numeric and not facts.several_metrics:
        return Choice("cmaes", {}, f"{why}; tpe is closer in the judge's table, but {missing}")
    return Choice("random", {}, f"tpe would learn from results, but {missing}")
