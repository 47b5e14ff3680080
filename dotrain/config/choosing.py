"""`search.optimizer: auto`: the facts that it goes by, and the optimizer that it has chosen."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from dotrain import plugins
from dotrain.config.arguments import budget_not_taken
from dotrain.config.parts import Parts
from dotrain.config.schema import Settings
from dotrain.config.section import Plugin
from dotrain.config.validation import validate_options
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer
from dotrain.core.strategy import AbstractStrategy
from dotrain.executors.base import AbstractExecutor
from dotrain.optimizers.asha import ASHA
from dotrain.optimizers.auto import NAME, Auto, Choice, Facts
from dotrain.space import Categorical, Searchspace
from dotrain.usercode.function import Described

_PATH = ("search", "optimizer")
#: What samplers import.
_PACKAGES = ("optuna", "scipy", "cmaes")


def is_auto(section: Plugin) -> bool:
    """Whether a config has its optimizer chosen."""
    return section.name.lower() == NAME


def auto_of(section: Plugin, parts: Parts) -> Auto | None:
    """Return what is to choose the optimizer; None if the config names one itself, or it can't be had.

    Args:
        section: The config's `search.optimizer`.
        parts: Takes what is wrong with it.
    """
    if not is_auto(section):
        return None
    auto: Auto | None
    auto, problems = validate_options(Auto, section.options, parts.source, _PATH, "name")
    parts.problems += problems
    return auto


def chosen(choice: Choice) -> AbstractOptimizer:
    """Return the optimizer of a choice, not yet set up."""
    made: AbstractOptimizer = plugins.load_plugin(plugins.OPTIMIZERS, choice.name)(**choice.options)
    return made


def choose(
    auto: Auto,
    settings: Settings,
    space: Searchspace,
    functions: Sequence[Described | None],
    executor: AbstractExecutor | None,
    strategy: AbstractStrategy | None,
    rule: AbstractEarlyStop | None,
) -> Choice:
    """Return what a config's own facts speak for.

    Args:
        auto: As the config has it.
        settings: The whole of that.
        space: What is searched.
        functions: The train function, and what else of the user's it may call; None is one not known.
        executor: Where trials run, None if that isn't known.
        strategy: How a trial spans workers, likewise.
        rule: The early-stop rule, likewise.
    """
    search = settings.search
    num_trials = search.num_trials if search else None
    slots = executor.slots(strategy.slots) if executor is not None and strategy is not None else 1
    facts = Facts(
        parameters=len(space.names),
        size=space.size,
        is_numeric=not any(
            isinstance(one, Categorical) or one.when for one in space.domains.values()
        ),
        num_trials=num_trials,
        slots=min(slots or 1, num_trials or slots or 1),
        takes_budget="budget" not in settings.hparams and _takes_budget(functions),
        takes_checkpoint=_asks_for("checkpoint", functions[0]),
        may_promote=_may_promote(rule),
        has_earlier=bool(search and search.warm_start),
        packages=frozenset(name for name in _PACKAGES if find_spec(name) is not None),
        several_metrics=bool(settings.metrics),
    )
    return auto.choose(facts)


def _takes_budget(functions: Sequence[Described | None]) -> bool:
    train, *others = functions
    return train is not None and not budget_not_taken(train, others, ASHA(resource_max=1))


def _asks_for(name: str, function: Described | None) -> bool:
    signature = None if function is None else function.signature()
    return signature is None or signature.takes_any or name in signature.names


def _may_promote(rule: AbstractEarlyStop | None) -> bool:
    try:
        if rule is not None:
            rule.check_with(ASHA(resource_max=1))
    except ValueError:
        return False
    return True
