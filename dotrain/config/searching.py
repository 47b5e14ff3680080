"""What a config says of its search, held against the optimizer, the rule and the space."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from dotrain.config.errors import Path, Problem
from dotrain.config.schema import Settings
from dotrain.config.search import Search
from dotrain.config.source import Source
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer
from dotrain.errors import did_you_mean
from dotrain.space import Searchspace, SpaceError, condition_text, is_met


def set_up(
    optimizer: AbstractOptimizer,
    rule: AbstractEarlyStop | None,
    space: Searchspace,
    search: Search | None,
    settings: Settings,
    source: Source,
    *,
    space_is_sound: bool,
    is_virtual: bool,
    goes_on: bool,
) -> Iterator[Problem]:
    """Tell an optimizer what is searched; yield what is wrong with that.

    Args:
        optimizer: Not yet set up.
        rule: The early-stop rule beside it, None if it can't be had.
        space: What is searched.
        search: The section, if the search is what is asked for.
        settings: The whole file.
        source: Where everything stands.
        space_is_sound: Whether nothing is wrong with the space itself.
        is_virtual: Whether nothing is trained, so that there is the metric and no other number.
        goes_on: Whether a run goes on with it, which knows what of `try_first` is new.
    """
    if search and optimizer.needs_num_trials and search.num_trials is None:
        message = "required by this optimizer: how many configurations to sample"
        yield source.problem(("search", "num_trials"), message, at_key=True)
        return
    if search and not space_is_sound:
        return
    if search and search.stop is not None and not space.names:  # only a call can say so
        message = (
            "nothing is searched, so nothing can end early; give a searchspace, or take it out"
        )
        yield source.problem(("search", "stop"), message, at_key=True)
    num_trials = search.num_trials if search and search.space else 1
    plan = None if search else optimizer.plan()
    if plan is not None:
        num_trials = plan.configurations
    optimizer.setup(space, num_trials, settings.direction, settings.seed, settings.metrics)
    try:
        optimizer.check()
    except ValueError as error:
        yield source.problem(("search", "optimizer"), str(error))
    try:
        if rule is not None:
            rule.check_with(optimizer)
    except ValueError as error:
        yield source.problem(("search" if search else "ablation", "early_stop"), str(error))
    if search and search.repeats > 1 and optimizer.lends_checkpoints:
        message = (
            f"'{search.optimizer.name}' trains each schedule of hyperparameters once: a trial that begins from another "
            "one's checkpoint has no repeats to begin from; take it out, or use asha or random"
        )
        yield source.problem(("search", "repeats"), message)
    if search and search.constraints and is_virtual:
        message = "a simulated trial has no other numbers than the metric; take them out"
        yield source.problem(("search", "constraints"), message, at_key=True)
    if search and settings.metric in search.constraints and not settings.metrics:
        message = (
            f"{settings.metric} is the metric itself; constrain others, or use a gate (--require)"
        )
        yield source.problem(("search", "constraints", settings.metric), message, at_key=True)
    if search and search.warm_start and not (optimizer.sampler and optimizer.sampler.learns):
        name = search.optimizer.name
        message = f"'{name}' learns nothing from results; use tpe, or asha with sampler: tpe"
        yield source.problem(("search", "warm_start"), message, at_key=True)
    if search and not goes_on:
        problems = list(first_problems(search.try_first, space, source))
        yield from problems
        optimizer.first.extend([] if problems else search.try_first)


def first_problems(
    first: Sequence[dict[str, Any]], space: Searchspace, source: Source, *, known: int = 0
) -> Iterator[Problem]:
    """Yield what is wrong with configurations that are to be tried first.

    Args:
        first: All of them.
        space: What is searched.
        source: Where they stand.
        known: So many of them were taken before.
    """
    for index, given in enumerate(first[known:], known):
        path = ("search", "try_first", index)
        problems = list(_value_problems(given, path, space, source))
        yield from problems
        try:
            if not problems:
                space.complete(given, Random(0))
        except SpaceError as error:
            yield source.problem(path, f"{error} (search.space_constraints)")


def _value_problems(
    given: Mapping[str, Any], path: Path, space: Searchspace, source: Source
) -> Iterator[Problem]:
    for name, value in given.items():
        if name not in space.domains:
            message = f"no parameter of search.space{did_you_mean(name, list(space.names))}"
            yield source.problem((*path, name), message, at_key=True)
        elif value not in space.domains[name]:
            message = f"{value!r} is not in {space.domains[name]}"
            yield source.problem((*path, name), message)
        elif unmet := _unmet(name, given, space):
            message = f"is in use only where {unmet}; give that too"
            yield source.problem((*path, name), message, at_key=True)


def _unmet(name: str, given: Mapping[str, Any], space: Searchspace) -> str:
    """Return a condition of a parameter that isn't sure to be met; ``""`` if all are."""
    for other, condition in space.domains[name].when.items():
        if other not in given or not is_met(condition, given[other]):
            return condition_text(other, condition)
    return ""
