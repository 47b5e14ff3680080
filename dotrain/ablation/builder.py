"""An ablation study written in Python, in the way of Maggy's ``AblationStudy``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, final

from dotrain.ablation.names import flat, groups_of, name_of
from dotrain.errors import UsageError, did_you_mean
from dotrain.space import plain_if_possible

Function = Callable[..., Any]


@final
class AblationStudy:
    """What to leave out, by name; the Python form of the config's ``ablation:`` section.

    Example:
        >>> study = AblationStudy(seeds=8)
        >>> study.features.include("sex", "age")
        >>> study.features.include_groups(["cabin", "deck"], pattern="ticket_*")
        >>> study.model.layers.include("dense_2")
        >>> study.model.layers.include_groups(["dense_2", "dense_3"])
        >>> study.model.layers.include_groups(prefix="block3_")
        >>> study.components.include("augmentation", augment=False)
        >>> study.model.set_base_generator(build_model)
        >>> study.set_dataset_generator(load_data)
        >>> experiment.lagom(train, ablation=study)

    What can't be meant is refused where it is written, with a `UsageError`; no attribute can be
    set.
    """

    __slots__ = ("_ablator", "_components", "_data", "_features", "_model", "_seeds")

    def __init__(
        self, *, seeds: int | None = None, ablator: str | Mapping[str, Any] | None = None
    ) -> None:
        """Make a study that leaves nothing out yet.

        Args:
            seeds: Runs of every arm, paired by seed; by default as many as in a config.
            ablator: ``loco``, ``add_one_in``, or a name with options, such as
                ``{"name": "pairs", "pairs": [["feature:sex", "feature:age"]]}``; by default as in
                a config.

        Raises:
            UsageError: If these can't be.
        """
        if seeds is not None and (type(seeds) is not int or seeds < 1):
            raise UsageError(f"seeds: expected a whole number >= 1, got {seeds!r}")
        self._features = _Features("features.include", "column")
        self._model = _Model()
        self._components = _Components()
        self._seeds = seeds
        self.set_ablator(ablator)
        self._data: Function | None = None

    @property
    def features(self) -> _Features:
        """The columns, and groups of them."""
        return self._features

    @property
    def model(self) -> _Model:
        """The model, its layers, and hand-made variants of it."""
        return self._model

    @property
    def components(self) -> _Components:
        """The hyperparameters that switch a part of the training off."""
        return self._components

    def set_ablator(self, ablator: str | Mapping[str, Any] | None) -> None:
        """Set what decides on the arms.

        Raises:
            UsageError: If it is neither a name nor a name with options.
        """
        if not isinstance(ablator, str | Mapping | None):
            raise UsageError(
                f"ablator: expected a name, or a name with options, got {ablator!r}; for one of "
                "your own: 'my_module:MyAblator'"
            )
        self._ablator = {"name": ablator} if isinstance(ablator, str) else dict(ablator or {})

    def set_dataset_generator(self, function: Function) -> None:
        """Set what ``dataset_function`` calls; it asks for ``features``, the columns to give.

        Raises:
            UsageError: If it is no function.
        """
        self._data = _function("set_dataset_generator", function)

    def generators(
        self, model: Function | None, data: Function | None
    ) -> tuple[Function | None, Function | None]:
        """Return the model function and the data function: given here, or set in the study.

        Raises:
            UsageError: If one is both given and set, and they differ.
        """
        for key, given, known in (("model", model, self._model._base), ("data", data, self._data)):
            if given is not None and known is not None and given is not known:
                raise UsageError(f"{key}: the study has set another function; take one out")
        return model or self._model._base, data or self._data

    @property
    def variants(self) -> dict[str, Function]:
        """The hand-made models, by name."""
        return dict(self._model._variants)

    def section(self) -> dict[str, Any]:
        """Return the study as the config's ``ablation:`` section."""
        section: dict[str, Any] = {
            "features": [*self._features._names, *self._features._groups],
            "layers": list(self._model._layers._names),
            "layer_groups": list(self._model._layers._groups),
            "models": {name: f"lagom:{name}" for name in self._model._variants},
            "components": dict(self._components._hparams),
            "seeds": self._seeds,
            "ablator": self._ablator,
        }
        return {key: value for key, value in section.items() if value}


class _Names:
    __slots__ = ("_names", "_what", "_where")

    def __init__(self, where: str, what: str) -> None:
        self._names: list[str] = []
        self._where, self._what = where, what

    def include(self, *names: str | Iterable[str]) -> None:
        """Leave these out, one at a time.

        Args:
            *names: Names, or lists of names.

        Raises:
            UsageError: If one is no name, or was included already.
        """
        included = list(flat(names))
        if not included:
            raise UsageError(f"{self._where}: names no {self._what}")
        for name in included:
            known = name_of(self._where, self._what, name)
            if known in self._names:
                raise UsageError(f"{self._where}: {known!r} is included already")
            self._names.append(known)

    def exclude(self, *names: str | Iterable[str]) -> None:
        """Take these out of the study again.

        Args:
            *names: Names, or lists of names.

        Raises:
            UsageError: If one was not included.
        """
        for name in flat(names):
            if name not in self._names:
                where = self._where.replace("include", "exclude")
                raise UsageError(
                    f"{where}: {name!r} is not included{did_you_mean(str(name), self._names)}"
                )
            self._names.remove(name)

    @property
    def names(self) -> tuple[str, ...]:
        """What is included, in the order in which it was."""
        return tuple(self._names)


class _Grouped(_Names):
    """Names, and groups of them that are left out together."""

    __slots__ = ("_groups",)

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where, what)
        self._groups: list[list[str] | dict[str, str]] = []

    @property
    def groups(self) -> tuple[list[str] | dict[str, str], ...]:
        """The groups that are included: lists of names, or ``{"prefix": ...}``, ``{"pattern": ...}``, ``{"view": ...}``."""
        return tuple(self._groups)


class _Features(_Grouped):
    __slots__ = ()

    def include_groups(
        self, *groups: Sequence[str], pattern: str | None = None, view: str | None = None
    ) -> None:
        """Leave these columns out, each group together: by list, by a pattern of names, by the view of a feature store.

        Raises:
            UsageError: If a group is no list of names, or there is none.
        """
        ways = {"pattern": pattern, "view": view}
        self._groups += groups_of("features.include_groups", groups, ways, self._what)


class _Layers(_Grouped):
    __slots__ = ()

    def include_groups(
        self,
        *groups: Sequence[str],
        prefix: str | None = None,
        pattern: str | None = None,
    ) -> None:
        """Leave these groups out, each together: by list, by prefix, or by pattern.

        Raises:
            UsageError: If a group is no list of names, or there is none.
        """
        ways = {"prefix": prefix, "pattern": pattern}
        self._groups += groups_of("layers.include_groups", groups, ways, self._what)

    def exclude_groups(
        self,
        *groups: Sequence[str],
        prefix: str | None = None,
        pattern: str | None = None,
    ) -> None:
        """Take these groups out of the study again, told as they were included.

        Raises:
            UsageError: If one was not included.
        """
        where = "layers.exclude_groups"
        for group in groups_of(where, groups, {"prefix": prefix, "pattern": pattern}, self._what):
            if group not in self._groups:
                raise UsageError(f"{where}: {group!r} is not included")
            self._groups.remove(group)


class _Model:
    __slots__ = ("_base", "_layers", "_variants")

    def __init__(self) -> None:
        self._layers = _Layers("layers.include", "layer")
        self._base: Function | None = None
        self._variants: dict[str, Function] = {}

    @property
    def layers(self) -> _Layers:
        """The layers of the model, and groups of them."""
        return self._layers

    def set_base_generator(self, function: Function) -> None:
        """Set what ``model_function`` calls.

        Raises:
            UsageError: If it is no function.
        """
        self._base = _function("model.set_base_generator", function)

    def add_custom_generator(self, name: str, function: Function) -> None:
        """Add a hand-made variant of the model.

        Raises:
            UsageError: If these aren't a name and a function, or the name was used already.
        """
        where = "model.add_custom_generator"
        if callable(name):
            raise UsageError(f"{where}: expected the name first, then the function")
        known = name_of(where, "variant", name)
        if known in self._variants:
            raise UsageError(f"{where}: {known!r} is included already")
        self._variants[known] = _function(where, function)


class _Components:
    __slots__ = ("_hparams",)

    def __init__(self) -> None:
        self._hparams: dict[str, dict[str, Any]] = {}

    def include(self, name: str, /, **hparams: Any) -> None:
        """Leave a part of the training out by hyperparameters.

        Raises:
            UsageError: If it has no name or one that was used, or its hyperparameters aren't
                plain values.
        """
        where = "components.include"
        known = name_of(where, "component", name)
        if known in self._hparams:
            raise UsageError(f"{where}: {known!r} is included already")
        if not hparams:
            raise UsageError(
                f"{where}: expected the hyperparameters that switch {known!r} off, such as "
                f"include({known!r}, augment=False)"
            )
        self._hparams[known] = {key: _plain(where, key, value) for key, value in hparams.items()}


def _function(where: str, function: Any) -> Function:
    if not callable(function):
        raise UsageError(f"{where}: expected a function, got {function!r}")
    return function  # type: ignore[no-any-return]


def _plain(where: str, key: str, value: Any) -> Any:
    plain = plain_if_possible(value)
    finite = not isinstance(plain, float) or math.isfinite(plain)
    if not (plain is None or isinstance(plain, str | int | float | bool)) or not finite:
        raise UsageError(
            f"{where}: {key}: expected a finite number, text, true or false, got {value!r}"
        )
    return plain
