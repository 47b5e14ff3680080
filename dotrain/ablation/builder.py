"""An ablation study written in Python, in the way of Maggy's ``AblationStudy``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


class AblationStudy:
    """What to leave out, by name; the Python form of the config's ``ablation:`` section.

    Example:
        >>> study = AblationStudy(seeds=8)
        >>> study.features.include("sex", "age")
        >>> study.model.layers.include("dense_2")
        >>> study.model.layers.include_groups(["dense_2", "dense_3"])
        >>> study.model.layers.include_groups(prefix="block3_")
        >>> study.components.include("augmentation", augment=False)
        >>> study.model.set_base_generator(build_model)
        >>> study.set_dataset_generator(load_data)
        >>> experiment.lagom(train, ablation=study)

    Attributes:
        features: Columns.
        model: The model, its layers, and hand-made variants of it.
        components: Hyperparameters that switch a part of the training off.
    """

    def __init__(self, *, seeds: int = 5, ablator: str | dict[str, Any] = "loco") -> None:
        """Make a study that leaves nothing out yet.

        Args:
            seeds: Runs of every arm, paired by seed.
            ablator: ``loco``, ``add_one_in``, or a name with options, such as
                ``{"name": "pairs", "pairs": [["feature:sex", "feature:age"]]}``.
        """
        self.features = _Names()
        self.model = _Model()
        self.components = _Components()
        self._seeds = seeds
        self._ablator = {"name": ablator} if isinstance(ablator, str) else dict(ablator)
        self._data: Callable[..., Any] | None = None

    def set_dataset_generator(self, function: Callable[..., Any]) -> None:
        """Set what ``dataset_function`` calls; it asks for ``features``, the columns to give."""
        self._data = function

    @property
    def base_generators(self) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
        """The model function and the data function that were set."""
        return self.model.base, self._data

    @property
    def variants(self) -> dict[str, Callable[..., Any]]:
        """The hand-made models, by name."""
        return dict(self.model.variants)

    def section(self) -> dict[str, Any]:
        """Return the study as the config's ``ablation:`` section."""
        section: dict[str, Any] = {
            "features": self.features.names,
            "layers": self.model.layers.names,
            "layer_groups": self.model.layers.groups,
            "models": {name: f"lagom:{name}" for name in self.model.variants},
            "components": self.components.hparams,
        }
        filled = {key: value for key, value in section.items() if value}
        return {**filled, "seeds": self._seeds, "ablator": self._ablator}


class _Names:
    def __init__(self) -> None:
        self.names: list[str] = []

    def include(self, *names: str) -> None:
        """Leave these out, one at a time."""
        self.names += names


class _Layers(_Names):
    def __init__(self) -> None:
        super().__init__()
        self.groups: list[list[str] | dict[str, str]] = []

    def include_groups(
        self,
        *groups: Sequence[str],
        prefix: str | None = None,
        pattern: str | None = None,
    ) -> None:
        """Leave these groups out, each together: by list, by prefix, or by pattern."""
        self.groups += [list(group) for group in groups]
        if prefix is not None:
            self.groups.append({"prefix": prefix})
        if pattern is not None:
            self.groups.append({"pattern": pattern})


class _Model:
    def __init__(self) -> None:
        self.layers = _Layers()
        self.base: Callable[..., Any] | None = None
        self.variants: dict[str, Callable[..., Any]] = {}

    def set_base_generator(self, function: Callable[..., Any]) -> None:
        """Set what ``model_function`` calls."""
        self.base = function

    def add_custom_generator(self, name: str, function: Callable[..., Any]) -> None:
        """Add a hand-made variant of the model."""
        self.variants[name] = function


class _Components:
    def __init__(self) -> None:
        self.hparams: dict[str, dict[str, Any]] = {}

    def include(self, name: str, **hparams: Any) -> None:
        """Leave a part of the training out by hyperparameters."""
        self.hparams[name] = hparams
