"""dotrain: write a train function once; run it once, as a parallel search, or distributed.

The names below are imported when they are first used, so that ``dotrain --help`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotrain import experiment
    from dotrain.ablation.ablators import AbstractAblator
    from dotrain.ablation.builder import AblationStudy
    from dotrain.core.policy import WAIT, AbstractEarlyStop, AbstractOptimizer, Promotion
    from dotrain.core.strategy import AbstractStrategy, Seat
    from dotrain.core.trial import Trial
    from dotrain.errors import DotrainError
    from dotrain.executors.base import AbstractExecutor
    from dotrain.frameworks.base import AbstractFramework
    from dotrain.space import Categorical, Discrete, Float, Int, Searchspace
    from dotrain.training.errors import EarlyStop

    __version__: str

__all__ = [
    "WAIT",
    "AblationStudy",
    "AbstractAblator",
    "AbstractEarlyStop",
    "AbstractExecutor",
    "AbstractFramework",
    "AbstractOptimizer",
    "AbstractStrategy",
    "Categorical",
    "Discrete",
    "DotrainError",
    "EarlyStop",
    "Float",
    "Int",
    "Promotion",
    "Searchspace",
    "Seat",
    "Trial",
    "experiment",
]

_HOMES = {
    "WAIT": "core.policy",
    "AblationStudy": "ablation.builder",
    "AbstractAblator": "ablation.ablators",
    "AbstractEarlyStop": "core.policy",
    "AbstractExecutor": "executors.base",
    "AbstractFramework": "frameworks.base",
    "AbstractOptimizer": "core.policy",
    "AbstractStrategy": "core.strategy",
    "Categorical": "space",
    "Discrete": "space",
    "DotrainError": "errors",
    "EarlyStop": "training.errors",
    "Float": "space",
    "Int": "space",
    "Promotion": "core.policy",
    "Searchspace": "space",
    "Seat": "core.strategy",
    "Trial": "core.trial",
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "experiment":
        return importlib.import_module("dotrain.experiment")
    if name == "__version__":
        return importlib.import_module("dotrain.versions").own_version()
    if name in _HOMES:
        return getattr(importlib.import_module(f"dotrain.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'dotrain' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
