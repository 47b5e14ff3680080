"""Maggy's `AblationStudy`, written as dotrain's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dotrain.ablation import builder


class Features:
    """The columns that are left out, each by itself; so `Layers` of layers."""

    def __init__(self, own: Any) -> None:
        self.own = own

    @property
    def included_features(self) -> set[str]:
        """Their names; of layers `included_layers`."""
        return {*self.own.names}

    def include(self, *names: Any) -> None:
        """Include names, or lists of them; one that is there already once."""
        for name in _listed(names):
            if name not in self.own.names:
                self.own.include(name)

    def exclude(self, *names: Any) -> None:
        """Take names out, or lists of them, as far as they are there."""
        self.own.exclude([name for name in _listed(names) if name in self.own.names])

    def list_all(self) -> None:
        """Print the names; of layers `print_all`."""
        print(*self.own.names, sep="\n")


class Layers(Features):
    """The layers, and groups of them."""

    included_layers = Features.included_features
    print_all = Features.list_all

    def __init__(self, own: Any) -> None:
        super().__init__(own)
        self.include_groups, self.exclude_groups = own.include_groups, own.exclude_groups

    def print_all_groups(self) -> None:
        """Print them."""
        print(*self.own.groups, sep="\n")


class Model:
    """What builds the model, and variants of it."""

    def __init__(self, own: Any) -> None:
        self.layers = Layers(own.layers)
        self.set_base_model_generator = own.set_base_generator
        self._own = own

    def add_custom_model_generator(
        self, custom_model_generator: Any, model_identifier: str
    ) -> None:
        """Add a variant: the function first, as Maggy has it."""
        self._own.add_custom_generator(model_identifier, custom_model_generator)


class AblationStudy:
    """A study; `own` is dotrain's. The dataset's name is one of a feature store, which the generator stands for here."""

    def __init__(
        self,
        training_dataset_name: str = "",
        training_dataset_version: int = 1,
        label_name: str = "",
        *,
        dataset_generator: Callable[..., Any] | None = None,
        seeds: int = 1,
    ) -> None:
        self.own = builder.AblationStudy(seeds=seeds)
        self.features, self.model = Features(self.own.features), Model(self.own.model)
        self.set_dataset_generator = self.own.set_dataset_generator
        self.hops_training_dataset_name, self.label_name = training_dataset_name, label_name
        self.hops_training_dataset_version = training_dataset_version
        if dataset_generator:
            self.set_dataset_generator(dataset_generator)


def _listed(names: Any) -> list[Any]:
    return [one for name in names for one in (name if isinstance(name, list) else [name])]
