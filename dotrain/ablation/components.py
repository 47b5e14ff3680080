"""What a study can leave out, and what that changes in the training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, ClassVar, final

from dotrain.ablation.layers import layers_matching
from dotrain.errors import UsageError


@dataclass(frozen=True)
class Component(ABC):
    """Something that can be left out; made as one of the final classes below.

    Attributes:
        of_model: Whether it is left out of what the model function builds.
        what: The column, the layer, the model, or what people call it.
        path: Where the config names it.
    """

    of_model: ClassVar[bool] = False
    what: str
    path: tuple[str | int, ...] = field(default=(), kw_only=True)

    @property
    @abstractmethod
    def kind(self) -> str:
        """What it is, as people and the journal have it."""

    @property
    def name(self) -> str:
        """``kind:what``, as in ``layer:dense_2``."""
        return f"{self.kind}:{self.what}"


@final
@dataclass(frozen=True)
class Feature(Component):
    """A column of the data.

    Attributes:
        also: Columns that are computed from it, and go with it.
    """

    kind = "feature"
    also: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The column, as it is named."""
        return (self.what,)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that go."""
        return (self.what, *self.also)

    def missed(self, seen: Collection[str]) -> list[str]:
        """Return which of the named columns nobody has asked about."""
        return [] if self.what in seen else [self.what]


@final
@dataclass(frozen=True)
class FeatureGroup(Component):
    """Columns that go together: listed, of a feature view, or by a pattern of their names, as ``deck_*``.

    Attributes:
        names: Those that are listed.
        pattern: Of the names of others.
        view: The feature view that they are of.
        also: What is meant by a view or pattern, where the columns are known, and what is computed from them.
    """

    kind = "features"
    names: tuple[str, ...] = ()
    pattern: str = ""
    view: str = ""
    also: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are known to go."""
        return (*self.names, *self.also)

    def means(self, column: str, view: str) -> bool:
        """Whether a column belongs to it by its name, or by its view."""
        by_pattern = bool(self.pattern) and fnmatchcase(column, self.pattern)
        return column in self.names or by_pattern or (bool(self.view) and view == self.view)

    def missed(self, seen: Collection[str]) -> list[str]:
        """Return which of the named columns nobody has asked about; of a pattern, that if none matches."""
        if self.pattern and not any(fnmatchcase(name, self.pattern) for name in seen):
            return [self.pattern]
        return [name for name in self.names if name not in seen]


class LayerComponent(Component):
    """Layers of a model that go together."""

    of_model = True

    @abstractmethod
    def layers_in(self, known: Sequence[str], separator: str = "/") -> list[str]:
        """Return which layers of a model belong to it.

        Args:
            known: The qualified names of the model's layers.
            separator: What stands between the parts of one.

        Raises:
            UsageError: If none does.
        """


@final
class Layer(LayerComponent):
    """One layer."""

    kind = "layer"

    def layers_in(self, known: Sequence[str], separator: str = "/") -> list[str]:
        """Return its name; surgery says whether there is such a layer."""
        return [self.what]


@final
@dataclass(frozen=True)
class LayerGroup(LayerComponent):
    """Layers that are listed, or whose names begin with a prefix or match a pattern, as ``conv_*``."""

    kind = "group"
    layers: tuple[str, ...] = ()
    prefix: str | None = None
    pattern: str | None = None

    def layers_in(self, known: Sequence[str], separator: str = "/") -> list[str]:
        """Return those listed, or those that match."""
        if self.layers:
            return list(self.layers)
        prefix, pattern = self.prefix or "", self.pattern or ""
        return layers_matching(known, prefix=prefix, pattern=pattern, separator=separator)


@final
class ModelVariant(Component):
    """What a hand-made model of the study is without."""

    kind = "model"
    of_model = True


@final
@dataclass(frozen=True)
class Switch(Component):
    """A part of the training that hyperparameters switch off."""

    kind = "component"
    hparams: Mapping[str, Any]


def _patterns(components: Iterable[Component]) -> frozenset[str]:
    groups = (one for one in components if isinstance(one, FeatureGroup))
    return frozenset(one.pattern for one in groups if one.pattern)


@dataclass(frozen=True)
class Variant:
    """What an arm changes in the training.

    Attributes:
        features: Columns that are left out.
        patterns: Of the names of others that are.
        kept: Columns that stay all the same, since the arm adds them, whatever else names them.
        kept_patterns: Of the names of others that do.
        layers: Components whose layers are left out.
        model: The hand-made model to build instead, by its name in the study; or ``""``.
        hparams: Hyperparameters that differ.
    """

    features: frozenset[str] = frozenset()
    layers: tuple[LayerComponent, ...] = ()
    model: str = ""
    hparams: Mapping[str, Any] = field(default_factory=dict)
    patterns: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    kept_patterns: frozenset[str] = frozenset()

    @property
    def of_columns(self) -> tuple[frozenset[str], ...]:
        """All that decides which columns are given."""
        return self.features, self.patterns, self.kept, self.kept_patterns

    @property
    def columns_differ(self) -> bool:
        """Whether any column is left out."""
        return bool(self.features or self.patterns)

    @classmethod
    def of(cls, components: Iterable[Component], added: Iterable[Component] = ()) -> Variant:
        """Put together what several components change.

        Args:
            components: What is left out.
            added: What the arm adds; their columns stay, though others of the components name them, too.

        Raises:
            UsageError: If two of them want another model, or another value of a hyperparameter.
        """
        components = tuple(components)
        stay = [one for one in added if isinstance(one, Feature | FeatureGroup)]
        hparams: dict[str, Any] = {}
        models = [component for component in components if isinstance(component, ModelVariant)]
        if len(models) > 1:
            names = " and ".join(component.name for component in models)
            raise UsageError(f"{names} can't be left out together: each is a model of its own")
        for switch in (one for one in components if isinstance(one, Switch)):
            for name, value in switch.hparams.items():
                if hparams.setdefault(name, value) != value:
                    raise UsageError(
                        f"{switch.name} can't be left out together with another component that "
                        f"sets {name} to {hparams[name]!r}"
                    )
        return cls(
            features=frozenset(
                name
                for one in components
                if isinstance(one, Feature | FeatureGroup)
                for name in one.columns
            ),
            patterns=_patterns(components),
            kept=frozenset(name for one in stay for name in one.names),
            kept_patterns=_patterns(stay),
            layers=tuple(one for one in components if isinstance(one, LayerComponent)),
            model=models[0].what if models else "",
            hparams=hparams,
        )
