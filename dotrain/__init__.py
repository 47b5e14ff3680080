"""dotrain: write a train function once; run it once, as a parallel search, or distributed.

The names below are imported when they are first used, so that ``dotrain --help`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `as`: for users' type checkers to take the name as exported
    from dotrain import experiment as experiment
    from dotrain.ablation.ablators import AbstractAblator as AbstractAblator
    from dotrain.ablation.builder import AblationStudy as AblationStudy
    from dotrain.ablation.components import Component as Component
    from dotrain.ablation.study import Arm as Arm
    from dotrain.ablation.study import Features as Features
    from dotrain.core.observer import Observer as Observer
    from dotrain.core.observer import RunView as RunView
    from dotrain.core.policy import WAIT as WAIT
    from dotrain.core.policy import AbstractEarlyStop as AbstractEarlyStop
    from dotrain.core.policy import AbstractOptimizer as AbstractOptimizer
    from dotrain.core.policy import Direction as Direction
    from dotrain.core.policy import Plan as Plan
    from dotrain.core.policy import Promotion as Promotion
    from dotrain.core.policy import Rung as Rung
    from dotrain.core.policy import Suggestion as Suggestion
    from dotrain.core.strategy import AbstractStrategy as AbstractStrategy
    from dotrain.core.strategy import PortTaken as PortTaken
    from dotrain.core.strategy import Seat as Seat
    from dotrain.core.trial import Trial as Trial
    from dotrain.core.trial import TrialState as TrialState
    from dotrain.errors import DotrainError as DotrainError
    from dotrain.executors.base import AbstractExecutor as AbstractExecutor
    from dotrain.frameworks.base import AbstractFramework as AbstractFramework
    from dotrain.runs.result import Result as Result
    from dotrain.space import Categorical as Categorical
    from dotrain.space import Discrete as Discrete
    from dotrain.space import Float as Float
    from dotrain.space import Int as Int
    from dotrain.space import LogNormal as LogNormal
    from dotrain.space import Normal as Normal
    from dotrain.space import Searchspace as Searchspace
    from dotrain.training.checkpoint import Checkpoint as Checkpoint
    from dotrain.training.errors import EarlyStop as EarlyStop
    from dotrain.training.generators import DataGenerator as DataGenerator
    from dotrain.training.generators import ModelGenerator as ModelGenerator
    from dotrain.training.reporter import Reporter as Reporter

    __version__: str
else:
    _NAMES = {
        "ablation.ablators": "AbstractAblator",
        "ablation.builder": "AblationStudy",
        "ablation.components": "Component",
        "ablation.study": "Arm Features",
        "core.observer": "Observer RunView",
        "core.policy": "WAIT AbstractEarlyStop AbstractOptimizer Direction Plan Promotion Rung "
        "Suggestion",
        "core.strategy": "AbstractStrategy PortTaken Seat",
        "core.trial": "Trial TrialState",
        "errors": "DotrainError",
        "executors.base": "AbstractExecutor",
        "frameworks.base": "AbstractFramework",
        "runs.result": "Result",
        "space": "Categorical Discrete Float Int LogNormal Normal Searchspace",
        "training.checkpoint": "Checkpoint",
        "training.errors": "EarlyStop",
        "training.generators": "DataGenerator ModelGenerator",
        "training.reporter": "Reporter",
    }
    _HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
    __all__ = sorted({*_HOMES, "experiment"})

    def __getattr__(name: str) -> object:
        import importlib

        if name == "experiment":
            return importlib.import_module("dotrain.experiment")
        if name == "__version__":
            return importlib.import_module("dotrain.versions").own_version()
        if name in _HOMES:
            return getattr(importlib.import_module(f"dotrain.{_HOMES[name]}"), name)
        if told := _elsewhere(name):
            # `from dotrain import name` would show no other error's text.
            raise ImportError(told)
        raise AttributeError(f"module 'dotrain' has no attribute '{name}'")

    def _elsewhere(name: str) -> str:
        """Return where a callback is that was looked for here; ``""`` if it is none."""
        import importlib

        if not name[:1].isupper():
            return ""
        callbacks = importlib.import_module("dotrain.callbacks")
        near = [name] if name in callbacks.__all__ else callbacks.near_misses(name)
        if not near:
            return ""
        found = f"from dotrain.callbacks import {', '.join(near)}"
        return f"'{name}' isn't in dotrain{'' if near == [name] else '; did you mean'}: {found}"

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]
