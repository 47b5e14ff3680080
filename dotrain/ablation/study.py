"""An ablation study: its components, and the arms that leave some of them out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dotrain.ablation.layers import layers_matching
from dotrain.errors import UsageError

BASELINE = "baseline"

#: The keys of a trial's parameters that say which arm and which seed it is.
ARM, SEED = "arm", "seed"


@dataclass(frozen=True)
class Component:
    """Something that can be left out.

    Attributes:
        name: ``kind:what``, as in ``layer:dense_2``.
        kind: ``feature``, ``layer``, ``group``, ``model`` or ``component``.
        feature: The column, of a feature.
        layers: The layers' names, of a layer or a listed group.
        prefix: What the layers' names begin with, of such a group.
        pattern: What they match, as ``conv_*``, of such a group.
        model: Which of the study's hand-made models has it left out.
        hparams: The hyperparameters without it.
        path: Where the config names it.
    """

    name: str
    kind: str
    feature: str = ""
    layers: tuple[str, ...] = ()
    prefix: str = ""
    pattern: str = ""
    model: str = ""
    hparams: Mapping[str, Any] = field(default_factory=dict)
    path: tuple[str | int, ...] = ()

    def layers_in(self, known: Sequence[str]) -> list[str]:
        """Return which layers of a model belong to it.

        Args:
            known: The qualified names of the model's layers.

        Raises:
            UsageError: If none does.
        """
        if not (self.prefix or self.pattern):
            return list(self.layers)
        return layers_matching(known, prefix=self.prefix, pattern=self.pattern)


@dataclass(frozen=True)
class Arm:
    """One variant of the training, run with every seed of the study.

    Attributes:
        name: Of the component whose worth it shows, or of several joined by ``+``;
            `BASELINE` for the variant that the others are compared with.
        left_out: Names of the components that are left out of it.
    """

    name: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variant:
    """What an arm changes in the training.

    Attributes:
        features: Columns that are left out.
        layers: Components whose layers are left out.
        model: The hand-made model to build instead, by its name in the study; or ``""``.
        hparams: Hyperparameters that differ.
    """

    features: frozenset[str] = frozenset()
    layers: tuple[Component, ...] = ()
    model: str = ""
    hparams: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, components: Iterable[Component]) -> Variant:
        """Put together what several components change.

        Raises:
            UsageError: If two of them want another model, or another value of a hyperparameter.
        """
        components = tuple(components)
        hparams: dict[str, Any] = {}
        models = [component for component in components if component.model]
        if len(models) > 1:
            names = " and ".join(component.name for component in models)
            raise UsageError(f"{names} can't be left out together: each is a model of its own")
        for component in components:
            for name, value in component.hparams.items():
                if hparams.setdefault(name, value) != value:
                    raise UsageError(
                        f"{component.name} can't be left out together with another component that "
                        f"sets {name} to {hparams[name]!r}"
                    )
        return cls(
            features=frozenset(c.feature for c in components if c.feature),
            layers=tuple(c for c in components if c.kind in ("layer", "group")),
            model=models[0].model if models else "",
            hparams=hparams,
        )


@dataclass(frozen=True)
class Study:
    """What is left out, in which arms.

    Attributes:
        components: All, by name.
        arms: All, the baseline first.
        adds: Whether the arms add components to a baseline that lacks them.
        seeds: How many seeds each arm runs.
    """

    components: Mapping[str, Component]
    arms: Sequence[Arm]
    adds: bool = False
    seeds: int = 5

    def variant(self, arm: str) -> Variant:
        """Return what an arm changes.

        Raises:
            UsageError: If it leaves out things that can't go together.
        """
        return Variant.of(self.left_out(arm))

    def left_out(self, arm: str) -> list[Component]:
        """Return the components that an arm leaves out."""
        (found,) = (one for one in self.arms if one.name == arm)
        return [self.components[name] for name in found.left_out]


class Features(Container[str]):
    """The columns a data function is to give: all but those that are left out.

    A data function asks for it by the name ``features``::

        def load_data(features):
            columns = features.select(table.columns)
    """

    def __init__(self, left_out: Iterable[str] = ()) -> None:
        self._left_out = frozenset(left_out)
        #: Columns that were asked about.
        self.seen: set[str] = set()

    def __contains__(self, column: object) -> bool:
        name = str(column)
        self.seen.add(name)
        return name not in self._left_out

    def __iter__(self) -> Iterator[str]:
        raise UsageError(
            "features doesn't know the table's columns, so there is nothing to go through; give "
            "features.select(columns)"
        )

    def select(self, columns: Iterable[str]) -> list[str]:
        """Return those of `columns` that are to be given, in their order.

        Raises:
            UsageError: If `columns` is a text: its letters are no columns.
        """
        if isinstance(columns, str):
            raise UsageError(
                f"features.select() takes a list of columns, got the text {columns!r}; "
                f"for one column: {columns!r} in features"
            )
        return [column for column in columns if column in self]

    def __repr__(self) -> str:
        return f"Features(left out: {', '.join(sorted(self._left_out)) or 'none'})"
