"""The config's `search:`, what is searched and how."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator

from dotrain.config.section import NO_RULE, DomainSpec, Plugin, Section


class Bounds(Section):
    """What a metric may be, for a trial to win."""

    min: float | None = Field(default=None, description="The lowest value that will do.")
    max: float | None = Field(default=None, description="The highest value that will do.")

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is over max {self.max:g}; no trial could win")
        return self


class WarmStart(Section):
    """Earlier results for the model to learn from."""

    from_: str = Field(
        alias="from",
        min_length=1,
        description="An earlier run, by its directory or name, or a CSV file with a column for each "
        "hyperparameter and one for the metric; a path relative to the config.",
    )
    trials: int | None = Field(
        default=None,
        ge=1,
        description="The most to learn from, spread evenly from the best to the worst; by default all.",
    )


class SearchStop(Section):
    """What ends a search before all is tried: the first that holds."""

    model_config = ConfigDict(title="Stop")

    target: float | None = Field(
        default=None, description="A value that will do: the search ends when the best is as good."
    )
    no_better_for: int | None = Field(
        default=None,
        ge=1,
        description="The search ends when so many trials have ended one after the other, failures "
        "aside, and none has made the best value better.",
    )

    @model_validator(mode="after")
    def _check_some(self) -> Self:
        if self.target is None and self.no_better_for is None:
            raise ValueError("expected target, no_better_for or both")
        return self


class Search(Section):
    """A parallel hyperparameter search."""

    space: dict[str, DomainSpec] = Field(
        min_length=1, description="What each hyperparameter may be, by name."
    )
    space_constraints: list[str] = Field(
        default=[],
        description="What must hold between hyperparameters in every trial that has them: a * b <= 64.",
    )
    optimizer: Plugin = Field(
        default=Plugin(name="random"), description="What to try next: its name, and its own keys."
    )
    num_trials: int | None = Field(
        default=None,
        ge=1,
        description="How many configurations to sample. A grid needs none; given one, it leaves out the rest.",
    )
    repeats: int = Field(
        default=1,
        ge=1,
        description="How often each configuration is trained, with other seeds, the same ones for all: its value "
        "is the mean. One that is worse than the best so far in the repeats that it has isn't repeated further, and "
        "never wins; with budgets, and with several metrics, all are made.",
    )
    early_stop: Plugin = Field(
        default=NO_RULE,
        description="Which trials to stop before their end: the rule's name, and its own keys.",
    )
    stop: SearchStop | None = Field(
        default=None,
        description="When the search has found enough; by default when all is tried.",
    )
    constraints: dict[str, Bounds] = Field(
        default={},
        description="What other metrics must be for a trial to win, by their names: a trial beyond is "
        "infeasible. The train function returns or reports them all.",
    )
    try_first: list[dict[str, Any]] = Field(
        default=[],
        description="Configurations to try before any other, such as today's; what one leaves out is drawn. "
        "More may be added when a run goes on.",
    )
    warm_start: WarmStart | None = Field(
        default=None, description="Earlier results for the model of a sampler to learn from."
    )
