"""Maggy's ablators: its own by its name, and those that users write."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from dotrain.ablation import ablators
from dotrain.ablation.components import Component
from dotrain.ablation.study import Arm
from dotrain.maggy.trial import Trial


def LOCO(*_: Any) -> str:
    """Return dotrain's name of it."""
    return "loco"


class AbstractAblator(ABC):
    """An ablator of the user's, asked for all of its trials before the first one begins."""

    def __init__(self, ablation_study: Any = None, final_store: Any = None) -> None:
        self.ablation_study, self.final_store = ablation_study, final_store or []
        self.trial_buffer: list[Trial] = []

    @abstractmethod
    def initialize(self) -> None:
        """Get ready."""

    @abstractmethod
    def get_trial(self, ablation_trial: Any = None) -> Trial | None:
        """Return a trial with ``ablated_feature`` and ``ablated_layer``, and a ``model_function`` if it is one of its own."""


class GivenArms(ablators.AbstractAblator):
    """Arms that are told one by one."""

    def __init__(self, *, arms: list[list[str]]) -> None:
        self._arms = arms

    def arms(self, components: Sequence[Component]) -> list[Arm]:
        """Return them."""
        return [Arm("+".join(left_out), tuple(left_out)) for left_out in self._arms]


def set_arms(study: Any, ablator: AbstractAblator) -> None:
    """Have a study run the arms that an ablator of the user's wants."""
    ablator.ablation_study, arms = study, []
    ablator.initialize()
    while (trial := ablator.get_trial()) is not None:
        column, layer = (trial.params.get(f"ablated_{what}") for what in ("feature", "layer"))
        left_out, build = [], trial.params.get("model_function")
        if column not in (None, "None"):
            study.features.include(column)
            left_out.append(f"feature:{column}")
        if layer not in (None, "None") and build not in (None, study.own.generators(None, None)[0]):
            study.model.add_custom_model_generator(build, layer)
            left_out.append(f"model:{layer}")
        elif layer not in (None, "None"):
            study.model.layers.include(layer)
            left_out.append(f"layer:{layer}")
        arms += [left_out] if left_out else []
    study.own.set_ablator({"name": f"{GivenArms.__module__}:{GivenArms.__name__}", "arms": arms})
